"""gRPC with a real client and real servers (grpcio), through h2c and TLS on both sides.

Messages are plain bytes: what is tested is how calls are carried, not protobuf.
"""

import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, Skip, equal, eventually
from harness.proxy import Proxy, fresh
from harness.web import ask

try:
    import grpc
except ImportError:
    grpc = None

checks = Checks("grpc")

DYNAMIC = """
http:
  routers:
    h2c: {{ rule: "Host(`h2c.test`)", service: h2c }}
    h2c-tls: {{ rule: "Host(`h2c.test`)", service: h2c, tls: {{}} }}
    https: {{ rule: "Host(`https.test`)", service: https }}
    https-tls: {{ rule: "Host(`https.test`)", service: https, tls: {{}} }}
    checked: {{ rule: "Host(`checked.test`)", service: checked }}
    dead: {{ rule: "Host(`dead.test`)", service: dead }}
  services:
    h2c:
      loadBalancer:
        servers: [ {{ url: "h2c://127.0.0.1:{one}" }}, {{ url: "h2c://127.0.0.1:{two}" }} ]
    https:
      loadBalancer:
        serversTransport: trusting
        servers: [ {{ url: "https://127.0.0.1:{secure}" }} ]
    checked:
      loadBalancer:
        healthCheck: {{ mode: grpc, path: /, interval: 200ms, timeout: 10s }}
        servers: [ {{ url: "h2c://127.0.0.1:{one}" }}, {{ url: "h2c://127.0.0.1:{two}" }} ]
    dead:
      loadBalancer:
        servers: [ {{ url: "h2c://127.0.0.1:1" }} ]
  serversTransports:
    trusting: {{ insecureSkipVerify: true }}
tls:
  certificates:
    - {{ certFile: {folder}/cert.pem, keyFile: {folder}/key.pem }}
"""


class Server:
    """A gRPC server that says its name, echoes streams, fails on demand and has a health service."""

    def __init__(self, name, credentials=None):
        self.name, self.serving, self.seen = name, True, []
        self.released = threading.Event()
        self.server = grpc.server(futures.ThreadPoolExecutor(16))
        calls = {
            "Name": grpc.unary_unary_rpc_method_handler(self.say_name),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "FailLate": grpc.unary_stream_rpc_method_handler(self.fail_late),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Sum": grpc.stream_unary_rpc_method_handler(self.sum),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "Hold": grpc.unary_unary_rpc_method_handler(self.hold),
        }
        health = {"Check": grpc.unary_unary_rpc_method_handler(self.health)}
        self.server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler("test.Calls", calls),
                grpc.method_handlers_generic_handler("grpc.health.v1.Health", health),
            )
        )
        if credentials:
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        else:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def say_name(self, message, context):
        self.seen.append(dict(context.invocation_metadata()))
        context.send_initial_metadata((("x-first", "f"),))
        context.set_trailing_metadata((("x-last", "l"), ("x-bytes-bin", b"\x00\xff")))
        return self.name.encode() + b":" + message

    def fail(self, _message, context):
        context.set_trailing_metadata((("x-why", "because"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: 100%")

    def fail_late(self, _message, context):
        yield b"one"
        yield b"two"
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")

    def count(self, message, _context):
        for turn in range(int(message)):
            yield b"%d" % turn

    def sum(self, messages, _context):
        return b"%d" % sum(map(int, messages))

    def chat(self, messages, _context):
        for message in messages:
            yield b"you said " + message

    def hold(self, _message, context):
        context.add_callback(self.released.set)
        self.seen.append("held")
        self.released.wait(60)
        return b""

    def health(self, _request, _context):
        # HealthCheckResponse: field 1, 1 is SERVING, 2 NOT_SERVING.
        return b"\x08\x01" if self.serving else b"\x08\x02"

    def stop(self):
        self.released.set()
        self.server.stop(None)


class Given:
    """Two plain servers, one with TLS, and the proxy."""

    def __enter__(self):
        if grpc is None:
            raise Skip("the Python package grpcio is not installed")
        folder = fresh("grpc-certificates")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
            + ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-subj", "/CN=h2c.test"]
            + ["-addext", "subjectAltName=DNS:h2c.test,DNS:https.test,DNS:checked.test"],
            check=True,
            capture_output=True,
        )
        self.certificate = (folder / "cert.pem").read_bytes()
        credentials = grpc.ssl_server_credentials([((folder / "key.pem").read_bytes(), self.certificate)])
        self.one, self.two, self.secure = Server("one"), Server("two"), Server("secure", credentials)
        ports = {"one": self.one.port, "two": self.two.port, "secure": self.secure.port}
        dynamic = DYNAMIC.format(folder=folder, **ports)
        self.proxy = Proxy("grpc", ["--metrics.prometheus=true"], dynamic=dynamic, entry_points=("web", "websecure"))
        eventually(5, lambda: len(self.proxy.get("/api/http/routers?search=test")) >= 6)
        return self

    def __exit__(self, *_):
        if hasattr(self, "proxy"):
            self.proxy.stop()
        for server in (self.one, self.two, self.secure):
            server.stop()

    def channel(self, host, tls):
        """A channel of its own: gRPC shares connections between channels that are alike."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        if tls:
            options.append(("grpc.ssl_target_name_override", host))
            credentials = grpc.ssl_channel_credentials(self.certificate)
            return grpc.secure_channel(f"127.0.0.1:{self.proxy.ports['websecure']}", credentials, options)
        options.append(("grpc.default_authority", host))
        return grpc.insecure_channel(f"127.0.0.1:{self.proxy.ports['web']}", options)

    def ways(self):
        """Every way through: plain and TLS in front, plain and TLS behind."""
        for host in ("h2c.test", "https.test"):
            for tls in (False, True):
                with self.channel(host, tls) as channel:
                    yield f"{host}{' over TLS' if tls else ''}", channel


def unary(channel, name, message=b"", **more):
    return channel.unary_unary(f"/test.Calls/{name}")(message, timeout=60, **more)


@checks("unary calls pass by h2c and TLS on both sides, with what goes before and after them")
def _(given):
    for way, channel in given.ways():
        answer, call = channel.unary_unary("/test.Calls/Name").with_call(b"hi", timeout=60, metadata=(("x-mine", "m"),))
        assert answer.endswith(b":hi"), f"{way}: {answer}"
        equal(dict(call.initial_metadata()).get("x-first"), "f", way)
        last = dict(call.trailing_metadata())
        equal((last.get("x-last"), last.get("x-bytes-bin")), ("l", b"\x00\xff"), way)
        equal(call.code(), grpc.StatusCode.OK, way)
    assert given.secure.seen[-1]["x-mine"] == "m", given.secure.seen[-1]


@checks("streams pass in each direction, and both at once message by message")
def _(given):
    for way, channel in given.ways():
        counted = [int(each) for each in channel.unary_stream("/test.Calls/Count")(b"50", timeout=60)]
        equal(counted, list(range(50)), way)
        summed = channel.stream_unary("/test.Calls/Sum")(iter([b"%d" % n for n in range(100)]), timeout=60)
        equal(summed, b"4950", way)
        said, heard = [], threading.Semaphore(1)

        def talk(heard=heard):
            for turn in range(20):
                # Not before the last one was answered: nothing may be held back.
                assert heard.acquire(timeout=60)
                yield b"%d" % turn

        for answer in channel.stream_stream("/test.Calls/Chat")(talk(), timeout=60):
            said.append(answer)
            heard.release()
        equal(said, [b"you said %d" % turn for turn in range(20)], way)


@checks("large messages pass both ways")
def _(given):
    for way, channel in given.ways():
        text = b"x" * 3_000_000
        assert unary(channel, "Name", text).endswith(text), way


@checks("a status other than OK arrives with its text and trailers, before and after messages")
def _(given):
    for way, channel in given.ways():
        try:
            unary(channel, "Fail")
            raise AssertionError(f"{way}: no error")
        except grpc.RpcError as error:
            equal((error.code(), error.details()), (grpc.StatusCode.FAILED_PRECONDITION, "not today: 100%"), way)
            equal(dict(error.trailing_metadata()).get("x-why"), "because", way)
        got = []
        try:
            for each in channel.unary_stream("/test.Calls/FailLate")(b"", timeout=60):
                got.append(each)
            raise AssertionError(f"{way}: no error")
        except grpc.RpcError as error:
            equal((got, error.code(), error.details()), ([b"one", b"two"], grpc.StatusCode.RESOURCE_EXHAUSTED, "enough"), way)
        try:
            unary(channel, "NoSuchCall")
            raise AssertionError(f"{way}: no error")
        except grpc.RpcError as error:
            equal(error.code(), grpc.StatusCode.UNIMPLEMENTED, way)


@checks("round robin is per call, not per connection")
def _(given):
    for tls in (False, True):
        with given.channel("h2c.test", tls) as channel:
            names = [unary(channel, "Name").split(b":")[0] for _turn in range(20)]
        equal({name: names.count(name) for name in set(names)}, {b"one": 10, b"two": 10}, "one connection")


@checks("a cancelled call is cancelled at the server")
def _(given):
    for server in (given.one, given.two):
        server.seen.clear()
        server.released.clear()
    with given.channel("h2c.test", False) as channel:
        call = channel.unary_unary("/test.Calls/Hold").future(b"", timeout=60)
        eventually(5, lambda: "held" in given.one.seen + given.two.seen)
        holder = given.one if "held" in given.one.seen else given.two
        call.cancel()
        assert holder.released.wait(60), "the server was not told"


@checks("a server that is not there is UNAVAILABLE to the client")
def _(given):
    with given.channel("dead.test", False) as channel:
        try:
            unary(channel, "Name")
            raise AssertionError("no error")
        except grpc.RpcError as error:
            equal(error.code(), grpc.StatusCode.UNAVAILABLE)


@checks("gRPC health checks take a server out that says NOT_SERVING, and in again")
def _(given):
    def used():
        with given.channel("checked.test", False) as channel:
            return {unary(channel, "Name").split(b":")[0] for _turn in range(6)}

    equal(used(), {b"one", b"two"})
    given.two.serving = False
    eventually(5, lambda: used() == {b"one"})
    status = given.proxy.get("/api/http/services/checked@file")["serverStatus"]
    equal(sorted(status.values()), ["DOWN", "UP"])
    given.two.serving = True
    eventually(5, lambda: used() == {b"one", b"two"})


@checks("metrics count calls as grpc, by their gRPC status")
def _(given):
    def codes():
        text = ask("127.0.0.1", given.proxy.api, "/metrics").text
        lines = [line for line in text.splitlines() if line.startswith("traefik_service_requests_total") and 'protocol="grpc"' in line]
        return lines if any('code="9"' in line for line in lines) else None

    lines = eventually(5, codes)
    assert any('code="0"' in line for line in lines), lines


if __name__ == "__main__":
    sys.exit(checks.run(Given()))
