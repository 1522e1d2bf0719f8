"""SPIFFE towards servers: our identity from an agent, theirs by id and trust domain, new ones as they come."""

import json
import ssl
import subprocess
import sys
import threading
from concurrent import futures
from contextlib import ExitStack, contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, Skip, equal, eventually
from harness.proxy import Proxy, fresh, free_ports, once

try:
    import grpc
except ImportError:
    grpc = None

checks = Checks("spiffe")

WHARF = "spiffe://a.test/wharf"


class Authority:
    """The authority of a trust domain."""

    def __init__(self, folder, name):
        self.folder, self.name, self.count = folder, name, 0
        self.openssl("req", "-x509", *KEY, "-days", "2", "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign", "-keyout", self.file("ca.key"), "-out", self.file("ca.pem"))  # fmt: skip
        self.roots = self.der("x509", self.file("ca.pem"))

    def file(self, name):
        return str(self.folder / f"{self.name}-{name}")

    def openssl(self, *arguments):
        return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout

    def der(self, kind, file):
        return self.openssl(kind, "-in", file, "-outform", "DER")

    def gives(self, uri):
        """The files of a certificate and a key."""
        self.count += 1
        key, request, extensions, certificate = (self.file(f"{self.count}.{end}") for end in ("key", "csr", "ext", "pem"))
        Path(extensions).write_text(
            f"subjectAltName=URI:{uri}\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n"
        )
        self.openssl("req", *KEY, "-subj", "/O=SPIRE", "-keyout", key, "-out", request)
        self.openssl("x509", "-req", "-in", request, "-CA", self.file("ca.pem"), "-CAkey", self.file("ca.key"), "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", certificate)  # fmt: skip
        return certificate, key

    def answer(self, uri, federated=()):
        """What an agent says of this identity."""
        certificate, key = self.gives(uri)
        pkcs8 = self.openssl("pkcs8", "-topk8", "-nocrypt", "-in", key, "-outform", "DER")
        fields = [(1, uri.encode()), (2, self.der("x509", certificate)), (3, pkcs8), (4, self.roots)]
        others = [(3, message([(1, domain.encode()), (2, roots)])) for domain, roots in federated]
        return message([(1, message(fields)), *others])


KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def message(fields):
    """Fields of bytes as protobuf."""
    out = b""
    for number, value in fields:
        size, length = len(value), b""
        while size > 0x7F:
            length += bytes([size & 0x7F | 0x80])
            size >>= 7
        out += bytes([number << 3 | 2]) + length + bytes([size]) + value
    return out


class Agent:
    """The workload API, at a socket or an address; says what `answer` is and becomes."""

    def __init__(self, place, answer=None):
        self.answer, self.version, self.changed, self.calls = answer, 0, threading.Condition(), 0
        self.server = grpc.server(futures.ThreadPoolExecutor(16))
        method = grpc.unary_stream_rpc_method_handler(self.fetch)
        self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("SpiffeWorkloadAPI", {"FetchX509SVID": method})])
        assert self.server.add_insecure_port(place), place
        self.server.start()

    def fetch(self, question, context):
        self.calls += 1
        if dict(context.invocation_metadata()).get("workload.spiffe.io") != "true" or question:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")
        told = None
        while context.is_active():
            with self.changed:
                if self.version == told:
                    self.changed.wait(0.2)
                    continue
                told, answer = self.version, self.answer
            if answer is None:
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
            yield answer

    def says(self, answer):
        with self.changed:
            self.answer, self.version = answer, self.version + 1
            self.changed.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stop(0).wait()


class Server:
    """Asks its clients for certificates of this authority, and answers whose they were."""

    def __init__(self, pair, authority):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                names = (self.connection.getpeercert() or {}).get("subjectAltName", ())
                body = ",".join(value for kind, value in names if kind == "URI").encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.verify_mode = ssl.CERT_REQUIRED if authority else ssl.CERT_NONE
        self.becomes(pair, authority)
        self.server = Quiet(("127.0.0.1", 0), Handler)
        # The handshake is for the thread of the connection.
        self.server.socket = self.context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def becomes(self, pair, authority):
        self.context.load_cert_chain(*pair)
        if authority:
            self.context.load_verify_locations(authority.file("ca.pem"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def dynamic(servers, transports):
    """A path for each transport: (server, spiffe section or whole transport)."""
    routers = {name: {"rule": f"PathPrefix(`/{name}`)", "service": name} for name in transports}
    routers["free"] = {"rule": "PathPrefix(`/free`)", "service": "ping@internal"}
    services, made = {}, {}
    for name, (server, transport) in transports.items():
        balancer = {"servers": [{"url": servers[server]}]}
        if transport is not None:
            # Each request shakes hands.
            made[name] = {"maxIdleConnsPerHost": -1, **transport}
            balancer["serversTransport"] = name
        services[name] = {"loadBalancer": balancer}
    return json.dumps({"http": {"routers": routers, "services": services, "serversTransports": made}})


@contextmanager
def proxy(address, configuration, *flags):
    flags = [f"--spiffe.workloadAPIAddr={address}", "--log.level=DEBUG", *flags] if address else list(flags)
    with Proxy("spiffe", flags=flags, dynamic=configuration) as site:
        eventually(10, lambda: site.ask("/free").status == 200)
        yield site


class Given:
    def __init__(self):
        self.folder = fresh("spiffe-files")
        self.own = Authority(self.folder, "own")
        self.other = Authority(self.folder, "other")
        self.socket = f"unix://{self.folder}/agent.sock"


@contextmanager
def given():
    if grpc is None:
        raise Skip("the Python package grpcio is not installed")
    yield Given()


def body(site, path):
    answer = site.ask(path, timeout=120)
    return answer.text if answer.status == 200 else answer.status


@checks("servers get our identity and are known by theirs")
def _(it):
    ids = lambda *all: {"spiffe": {"ids": list(all)}}
    of = lambda domain: {"spiffe": {"trustDomain": domain}}
    cases = {
        "any": ("web", {"spiffe": {}}, WHARF),
        "id": ("web", ids("spiffe://a.test/x", "spiffe://a.test/web"), WHARF),
        "domain": ("web", of("a.test"), WHARF),
        "idfirst": ("web", {"spiffe": {"ids": ["spiffe://a.test/web"], "trustDomain": "b.test"}}, WHARF),
        "notid": ("web", ids("spiffe://a.test/x"), 502),
        "notdomain": ("web", of("b.test"), 502),
        "friend": ("friend", of("b.test"), WHARF),
        "foreign": ("forged", {"spiffe": {}}, 502),
        "plain": ("web", None, 502),
    }
    with ExitStack() as stack:
        stack.enter_context(Agent(it.socket, it.own.answer(WHARF, [("b.test", it.other.roots)])))
        servers = {
            "web": stack.enter_context(Server(it.own.gives("spiffe://a.test/web"), it.own)),
            "friend": stack.enter_context(Server(it.other.gives("spiffe://b.test/friend"), it.own)),
            "forged": stack.enter_context(Server(it.other.gives("spiffe://a.test/web"), None)),
        }
        urls = {name: server.url for name, server in servers.items()}
        configuration = dynamic(urls, {name: (server, transport) for name, (server, transport, _w) in cases.items()})
        with proxy(it.socket, configuration) as site:
            for name, (_server, _transport, wanted) in cases.items():
                equal(body(site, f"/{name}"), wanted, name)
            assert f"SPIFFE: this is {WHARF}" in site.log, site.log


@checks("the default transport may be one of SPIFFE, and the agent at an address")
def _(it):
    (port,) = free_ports(1)
    with Agent(f"127.0.0.1:{port}", it.own.answer(WHARF)), Server(it.own.gives("spiffe://a.test/web"), it.own) as server:
        configuration = dynamic({"web": server.url}, {"web": ("web", None)})
        for domain, wanted in [("a.test", WHARF), ("b.test", 502)]:
            with proxy(f"tcp://127.0.0.1:{port}", configuration, f"--serversTransport.spiffe.trustDomain={domain}") as site:
                equal(body(site, "/web"), wanted)
        with proxy(f"tcp://127.0.0.1:{port}", configuration, "--serversTransport.spiffe=true") as site:
            equal(body(site, "/web"), WHARF)


@checks("a new identity and new roots are used as soon as the agent gives them, and kept when it is gone")
def _(it):
    with ExitStack() as stack:
        agent = stack.enter_context(Agent(it.socket, it.own.answer(WHARF)))
        server = stack.enter_context(Server(it.own.gives("spiffe://a.test/web"), it.own))
        configuration = dynamic({"web": server.url}, {"web": ("web", {"spiffe": {"trustDomain": "a.test"}})})
        with proxy(it.socket, configuration) as site:
            equal(body(site, "/web"), WHARF)
            agent.says(it.own.answer(f"{WHARF}/2"))
            eventually(10, lambda: body(site, "/web") == f"{WHARF}/2")
            # Another authority for the same domain.
            new = Authority(it.folder, "new")
            server.becomes(new.gives("spiffe://a.test/web"), new)
            agent.says(new.answer(f"{WHARF}/3"))
            eventually(10, lambda: body(site, "/web") == f"{WHARF}/3")
            agent.says(b"\xff\xff\xff")
            eventually(10, lambda: "the last identity stays in use" in site.log)
            equal(body(site, "/web"), f"{WHARF}/3")


@checks("a request waits for the first identity, and one that is refused is asked for again")
def _(it):
    with ExitStack() as stack:
        server = stack.enter_context(Server(it.own.gives("spiffe://a.test/web"), it.own))
        transports = {"web": ("web", {"spiffe": {}, "forwardingTimeouts": {"dialTimeout": "100s"}}), "short": ("web", {"spiffe": {}, "forwardingTimeouts": {"dialTimeout": "100ms"}})}
        with proxy(it.socket, dynamic({"web": server.url}, transports)) as site, futures.ThreadPoolExecutor() as threads:
            waiting = threads.submit(body, site, "/web")
            equal(body(site, "/short"), 504)
            eventually(10, lambda: "can't be reached" in site.log)
            agent = stack.enter_context(Agent(it.socket))
            eventually(10, lambda: "no identity issued" in site.log)
            assert not waiting.done()
            agent.says(it.own.answer(WHARF))
            equal(waiting.result(), WHARF)


@checks("what does not go together is told, and such servers are never spoken to without an identity")
def _(it):
    with Server(it.own.gives("spiffe://a.test/web"), None) as server, Agent(it.socket, it.own.answer(WHARF)):
        skip = {"insecureSkipVerify": True}
        configuration = dynamic({"web": server.url}, {"both": ("web", {"spiffe": {}, **skip}), "id": ("web", {"spiffe": {"ids": ["web"]}})})
        texts = lambda site: " ".join(problem["text"] for problem in site.problems())
        with proxy(it.socket, configuration) as site:
            eventually(5, lambda: "TLS and SPIFFE configuration cannot be defined at the same time" in texts(site))
            assert "invalid SPIFFE ID" in texts(site), texts(site)
            assert body(site, "/both") != "", "it was spoken to"
        with proxy(None, dynamic({"web": server.url}, {"web": ("web", {"spiffe": {}})})) as site:
            eventually(5, lambda: "SPIFFE is enabled for this transport, but not configured" in texts(site))
            assert body(site, "/web") != "", "it was spoken to"
    for address in ("agent:8081", "tcp://agent:8081", "unix://agent.sock"):
        status, said = once([f"--spiffe.workloadAPIAddr={address}", "--entryPoints.web.address=127.0.0.1:0"])
        equal(status, 1)
        assert "spiffe.workloadAPIAddr" in said and address in said, said


if __name__ == "__main__":
    sys.exit(checks.run(given()))
