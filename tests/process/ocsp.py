"""OCSP answers, stapled to certificates: fetched from OpenSSL's responder, shown to its client."""

import socket
import sys
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal, eventually
from harness.openssl import Authority, s_client
from harness.proxy import Process, Proxy, free_ports, fresh

checks = Checks("ocsp")
ON = "--ocsp=true"


def dynamic(*pairs, default=None):
    text = 'http:\n  routers:\n    all: { rule: "PathPrefix(`/`)", service: noop@internal, tls: {} }\ntls:\n'
    if default:
        text += f"  stores: {{ default: {{ defaultCertificate: {{ certFile: {default[0]}, keyFile: {default[1]} }} }} }}\n"
    return text + "  certificates:\n" + "".join(f"    - {{ certFile: {cert}, keyFile: {key} }}\n" for cert, key in pairs)


@contextmanager
def responder(authority, port, signer=None):
    with Process(authority.responder(port, signer), f"responder-{port}") as process:
        # A connection to see whether it listens would keep it waiting for a question.
        eventually(20, lambda: "waiting for OCSP client connections" in process.log)
        yield process


def stapled(port, name, *more):
    """What is stapled: `good`, or None."""
    text = s_client(port, name, "-status", *more)
    assert f"CN = {name}" in text, text[-1500:]
    if "OCSP response: no response sent" in text:
        return None
    assert "OCSP Response Status: successful" in text, text[-1500:]
    return next(line.split(":")[1].strip() for line in text.splitlines() if "Cert Status:" in line)


def troubles(proxy):
    return [f"{problem['text']} {problem['mend']}" for problem in proxy.problems() if "certificate for" in problem["text"]]


@checks("a good answer is stapled to each certificate with a responder, the default one too, and to no other")
def _(_none):
    (port,) = free_ports(1)
    authority, url = Authority(fresh("ocsp-good-files")), f"http://127.0.0.1:{port}/ocsp"
    one = authority.issue("one", "one.example.org", responder=url)
    default = authority.issue("default", "default.example.org", responder=url)
    plain = authority.issue("plain", "plain.example.org")
    with responder(authority, port), Proxy("ocsp", [ON], dynamic(one, plain, default=default)) as proxy:
        for version in ("-tls1_2", "-tls1_3"):
            eventually(20, lambda version=version: stapled(proxy.port, "one.example.org", version) == "good")
        eventually(20, lambda: "Cert Status: good" in s_client(proxy.port, "unknown.example.org", "-status"))
        equal(stapled(proxy.port, "plain.example.org"), None)
        equal(troubles(proxy), [])
        # Another table, the same certificate: nothing is lost, not even for a moment.
        other = authority.issue("other", "other.example.org")
        proxy.file.write_text(dynamic(one, plain, other, default=default))
        eventually(20, lambda: stapled(proxy.port, "other.example.org") is None)
        equal(stapled(proxy.port, "one.example.org"), "good")


@checks("without `ocsp` nobody is asked, as in Traefik")
def _(_none):
    with socket.create_server(("127.0.0.1", 0)) as asked:
        asked.settimeout(2)
        url = f"http://127.0.0.1:{asked.getsockname()[1]}/"
        pair = Authority(fresh("ocsp-off-files")).issue("one", "one.example.org", responder=url)
        with Proxy("ocsp-off", [], dynamic(pair)) as proxy:
            eventually(20, lambda: stapled(proxy.port, "one.example.org") is None)
            try:
                asked.accept()
                raise AssertionError("the responder was asked")
            except TimeoutError:
                pass


@checks("a revoked certificate is named with its reason, and one that a responder signed by another key is not stapled")
def _(_none):
    first, second = free_ports(2)
    authority, stranger = Authority(fresh("ocsp-revoked-files")), Authority(fresh("ocsp-stranger-files"))
    gone = authority.issue("gone", "gone.example.org", responder=f"http://127.0.0.1:{first}/", revoked=True)
    forged = authority.issue("forged", "forged.example.org", responder=f"http://127.0.0.1:{second}/")
    with ExitStack() as stack:
        stack.enter_context(responder(authority, first))
        stack.enter_context(responder(authority, second, stranger))
        proxy = stack.enter_context(Proxy("ocsp-bad", [ON], dynamic(gone, forged)))
        found = eventually(20, lambda: len(all := troubles(proxy)) == 2 and "\n".join(all))
        assert "gone.example.org: its authority revoked it on 2026-01-01 (key compromise)" in found, found
        assert "forged.example.org: no OCSP answer" in found and "not signed by the certificate's authority" in found, found
        equal([stapled(proxy.port, name) for name in ("gone.example.org", "forged.example.org")], [None, None])


@checks("a responder that hangs or is down holds nobody up, is named, and is asked again")
def _(_none):
    up, down = free_ports(2)
    authority = Authority(fresh("ocsp-down-files"))
    with socket.create_server(("127.0.0.1", 0)) as hangs, ExitStack() as stack:
        hanging = authority.issue("hangs", "hangs.example.org", responder=f"http://127.0.0.1:{hangs.getsockname()[1]}/")
        good = authority.issue("good", "good.example.org", responder=f"http://127.0.0.1:{up}/")
        late = authority.issue("late", "late.example.org", responder="http://late-responder/ocsp")
        stack.enter_context(responder(authority, up))
        instead = f"--ocsp.responderOverrides.late-responder=http://127.0.0.1:{down}/"
        proxy = stack.enter_context(Proxy("ocsp-down", [ON, instead], dynamic(hanging, good, late)))
        eventually(15, lambda: stapled(proxy.port, "good.example.org") == "good")
        texts = eventually(20, lambda: len(all := troubles(proxy)) == 2 and "\n".join(all))
        assert "hangs.example.org: no OCSP answer" in texts and "no answer within 10 s" in texts, texts
        assert f"late.example.org: no OCSP answer: http://127.0.0.1:{down}/" in texts, texts
        stack.enter_context(responder(authority, down))
        eventually(60, lambda: stapled(proxy.port, "late.example.org") == "good", pause=0.5)
        eventually(20, lambda: len(troubles(proxy)) == 1)


if __name__ == "__main__":
    sys.exit(checks.run(nullcontext()))
