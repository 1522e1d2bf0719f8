"""rateLimit with its buckets in a Redis: shared by proxies, with passwords, TLS and clusters; and what
becomes of requests while the Redis is gone, hangs, or is something else."""

import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal, eventually
from harness.proxy import Proxy, free_ports, fresh
from harness.redis import Fake, Redis, trusting

checks = Checks("redis")

ALONE = "this process counts for itself alone"
AGAIN = "answers again"
HOUR = {"average": 1, "period": "1h"}
BY_KEY = {"sourceCriterion": {"requestHeaderName": "X-Key"}}


def dynamic(redis, **limit):
    """Two routers with the same limit, and one with none."""
    limit = {**HOUR, **BY_KEY, "redis": redis, **limit}
    router = lambda path, *names: {"rule": f"PathPrefix(`{path}`)", "service": "ping@internal", "middlewares": list(names)}
    routers = {"free": router("/free"), "one": router("/one", "limit"), "two": router("/two", "limit")}
    return json.dumps({"http": {"routers": routers, "middlewares": {"limit": {"rateLimit": limit}}}})


class Limited(Proxy):
    """The proxy with a limit that is kept in this Redis."""

    def __init__(self, redis, name="redis-proxy", workers=2, **limit):
        redis = {"endpoints": [redis.endpoint]} if isinstance(redis, Redis) else redis
        flags = [f"--wharf.workers={workers}", "--log.level=DEBUG", "--providers.providersThrottleDuration=10ms"]
        super().__init__(name, flags=flags, dynamic=dynamic(redis, **limit))
        eventually(10, lambda: self.ask("/free").status == 200)

    def status(self, key, path="/one"):
        answer = self.ask(path, headers={"X-Key": key}, timeout=60)
        assert answer.status in (200, 429), f"{answer.status} {answer.text}"
        return answer.status

    def is_alone(self):
        return self.log.count(ALONE) > self.log.count(AGAIN)

    def is_shared(self, redis, key):
        """Whether a request with this key is counted in Redis."""
        before = bucket(redis, key)
        self.status(key)
        return bucket(redis, key) != before


def bucket(redis, key):
    return redis("HGETALL", f"rate:limit@file:{key}")


@contextmanager
def pair(*options, limit=None, redis=None, **more):
    """A Redis, a client of it, and the proxy."""
    with Redis(*options) as server:
        with Limited({"endpoints": [server.endpoint], **(redis or {})}, **(limit or {}), **more) as proxy:
            yield server, server.client(), proxy


@checks("two proxies share a bucket, on all routers of the middleware")
def _(_none):
    with Redis() as redis, Limited(redis, "redis-a", burst=6) as one, Limited(redis, "redis-b", burst=6) as other:
        asked = [each.status("k", path) for _n in range(3) for each in (one, other) for path in ("/one", "/two")]
        equal(asked, [200] * 6 + [429] * 6)
        answer = other.ask("/one", headers={"X-Key": "k"})
        equal((answer.status, answer.text), (429, "Too Many Requests"))
        assert 3000 < int(answer.header("retry-after")) <= 3600, answer.headers
        equal(one.status("other"), 200)
        ask = redis.client()
        found = bucket(ask, "k")
        equal(found[::2], ["last", "tokens"])
        assert 0 <= float(found[3]) < 1, found
        # A bucket of six is full in six hours, and kept until then.
        assert 5 * 3600 < ask("TTL", "rate:limit@file:k") <= 6 * 3600 + 2, ask("TTL", "rate:limit@file:k")
        assert not one.is_alone() and not other.is_alone(), one.log


@checks("a burst at once over two proxies with two threads each is counted exactly")
def _(_none):
    with Redis() as redis, Limited(redis, "redis-a", burst=20) as one, Limited(redis, "redis-b", burst=20) as other:
        with ThreadPoolExecutor(16) as threads:
            found = list(threads.map(lambda n: (one, other)[n % 2].status("k"), range(80)))
        equal((found.count(200), found.count(429)), (20, 60))
        assert not one.is_alone() and not other.is_alone(), one.log


@checks("a bucket is read as Traefik leaves it, and written as it reads it")
def _(_none):
    with pair(limit={"burst": 5}) as (_server, redis, proxy):
        # As Traefik's script writes it: times in microseconds.
        redis("HSET", "rate:limit@file:k", "last", int(time.time() * 1e6), "tokens", "2.25")
        equal([proxy.status("k") for _n in range(3)], [200, 200, 429])
        last, tokens = bucket(redis, "k")[1::2]
        assert last.isdigit() and abs(int(last) - time.time() * 1e6) < 600e6, last
        assert 0.25 <= float(tokens) < 1, tokens
        # One that was forgotten is full.
        redis("DEL", "rate:limit@file:k")
        equal([proxy.status("k") for _n in range(6)], [200] * 5 + [429])
        # A clock that was set back takes nothing and gives nothing.
        redis("HSET", "rate:limit@file:k", "last", int((time.time() + 3600) * 1e6), "tokens", "1")
        equal([proxy.status("k") for _n in range(2)], [200, 429])


@checks("a request that is nearly in time waits, and one that is not is refused")
def _(_none):
    # Half a second is what a request waits at most where less than one a second may pass.
    with pair(limit={"average": 1, "period": "10s"}) as (_server, redis, proxy):
        redis("HSET", "rate:limit@file:k", "last", int(time.time() * 1e6), "tokens", "0.96")
        equal(proxy.status("k"), 200)
        redis("HSET", "rate:limit@file:k", "last", int(time.time() * 1e6), "tokens", "-1000")
        equal(proxy.status("k"), 429)


@checks("long sources are kept as hashes, and no limit asks nobody")
def _(_none):
    with pair() as (_server, redis, proxy):
        long = "k" * 4000
        equal([proxy.status(long) for _n in range(2)], [200, 429])
        (key,) = redis("KEYS", "*")
        assert key.startswith("rate:limit@file:sha256:") and len(key) < 100, key
    (port,) = free_ports(1)
    with Limited({"endpoints": [f"127.0.0.1:{port}"]}, average=0) as proxy:
        equal([proxy.status("k") for _n in range(3)], [200] * 3)
        assert ALONE not in proxy.log


@checks("password, user and database are told")
def _(_none):
    for options, auth in [
        (["--requirepass", "secret"], {"password": "secret"}),
        (["--user", "joe", "on", ">two", "~rate:*", "+@all", "--user", "default", "off"], {"username": "joe", "password": "two"}),
    ]:
        with Redis(*options) as server:
            redis = server.client(*auth.values())
            redis("SELECT", 3)
            with Limited({"endpoints": [server.endpoint], "db": 3, **auth}) as proxy:
                equal([proxy.status("k") for _n in range(2)], [200, 429])
                assert bucket(redis, "k"), redis("KEYS", "*")
                assert not proxy.is_alone(), proxy.log
                shown = proxy.get("/api/http/middlewares/limit@file")["rateLimit"]["redis"]
                equal((shown["password"], shown["db"]), ("xxxx", 3))


@checks("a wrong password is told once, and the proxy limits by itself")
def _(_none):
    with pair("--requirepass", "secret", redis={"password": "no"}) as (_server, _redis, proxy):
        equal([proxy.status("k") for _n in range(4)], [200, 429, 429, 429])
        eventually(5, proxy.is_alone)
        for _n in range(10):
            proxy.status("other")
        lines = [line for line in proxy.log.splitlines() if ALONE in line]
        equal(len(lines), 1, lines)
        assert "WRONGPASS" in lines[0], lines


@checks("a Redis that stops and comes back costs no request")
def _(_none):
    with ExitStack() as stack:
        redis = stack.enter_context(Redis())
        proxy = stack.enter_context(Limited(redis, burst=2))
        equal([proxy.status("k") for _n in range(3)], [200, 200, 429])
        redis.stop()
        # A bucket of our own now.
        equal([proxy.status("k") for _n in range(3)], [200, 200, 429])
        eventually(5, proxy.is_alone)
        again = stack.enter_context(Redis(port=redis.port))
        ask = again.client()
        eventually(10, lambda: proxy.is_shared(ask, f"n{time.monotonic()}"))
        equal([proxy.status("fresh") for _n in range(3)], [200, 200, 429])
        assert bucket(ask, "fresh")
        assert not proxy.is_alone()


@checks("idle connections that were closed and scripts that were forgotten are not noticed")
def _(_none):
    with pair(limit={"burst": 3}) as (_server, redis, proxy):
        equal(proxy.status("k"), 200)
        redis("SCRIPT", "FLUSH")
        equal(proxy.status("k"), 200)
        assert redis("CLIENT", "KILL", "TYPE", "normal") >= 1
        equal([proxy.status("k") for _n in range(2)], [200, 429])
        assert ALONE not in proxy.log, proxy.log


@checks("a Redis that hangs holds requests only as long as its limits, and others not at all")
def _(_none):
    with Fake(lambda stream: stream.recv(1)) as hung:
        with Limited({"endpoints": [hung.endpoint], "readTimeout": "300ms"}, burst=50) as proxy:
            with ThreadPoolExecutor(20) as threads:
                held = [threads.submit(proxy.status, "k") for _n in range(10)]
                free = [threads.submit(lambda: proxy.ask("/free").status) for _n in range(10)]
                equal([one.result() for one in free + held], [200] * 20)
            assert "no answer in time" in proxy.log and proxy.is_alone(), proxy.log


@checks("what is no Redis is asked, told of, and believed nothing")
def _(_none):
    def endless(stream):
        stream.recv(1)
        while True:
            stream.sendall(b"+" + b"a" * 65536)

    def answer(data):
        def serve(stream):
            while stream.recv(65536):
                stream.sendall(data)

        return serve

    for serve in [
        endless,
        answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        answer(b"$2147483647\r\n"),
        answer(b"*2\r\n:1\r\n:0\r\n+more\r\n"),
        answer(b"*2\r\n:7\r\n:0\r\n"),
        answer(b"+OK\r\n"),
        answer(b"-ERR \x1b[31mred\x1b[0m\r\n"),
        lambda stream: stream.close(),
    ]:
        with Fake(serve) as fake, Limited({"endpoints": [fake.endpoint]}) as proxy:
            equal([proxy.status("k") for _n in range(3)], [200, 429, 429])
            eventually(5, proxy.is_alone)
            assert "\x1b[31mred" not in proxy.log
            assert "panicked" not in proxy.log
    # A wait is bounded by what the limit allows, whatever is said.
    with Fake(answer(b"*2\r\n:1\r\n:999999999999\r\n")) as fake, Limited({"endpoints": [fake.endpoint]}) as proxy:
        equal(proxy.status("k"), 200)


@checks("connections are as few and as many as is set, and closed with the middleware")
def _(_none):
    with Redis() as server:
        ask = server.client()
        ours = lambda: len(ask("CLIENT", "LIST").splitlines()) - 1
        made = lambda: int(ask("INFO", "stats").split("total_connections_received:")[1].split()[0])
        before = made()
        with Limited({"endpoints": [server.endpoint], "maxActiveConns": 1}, workers=1, burst=1000) as proxy:
            with ThreadPoolExecutor(16) as threads:
                equal(set(threads.map(lambda _n: proxy.status("k"), range(60))), {200})
            equal((made() - before, ours()), (1, 1))
            assert ALONE not in proxy.log
            proxy.file.write_text(dynamic({"endpoints": [server.endpoint], "poolSize": 4, "minIdleConns": 3}))

            def filled():
                proxy.status("k")
                return ours() == 3

            eventually(10, filled)
            proxy.file.write_text('{"http": {"routers": {"free": {"rule": "Path(`/none`)", "service": "ping@internal"}}}}')
            eventually(10, lambda: proxy.ask("/one").status == 404)
            eventually(10, lambda: ours() == 0)


def certificates(folder):
    """A CA, a server's certificate for 127.0.0.1 and a client's."""
    file = lambda name: str(folder / name)
    openssl = lambda *arguments: subprocess.run(["openssl", *arguments], check=True, capture_output=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=tests", "-keyout", file("ca.key"), "-out", file("ca.pem"))
    for name, usage in [("server", "serverAuth"), ("client", "clientAuth")]:
        openssl("req", *key, "-subj", f"/CN={name}", "-keyout", file(f"{name}.key"), "-out", file(f"{name}.csr"))
        (folder / f"{name}.ext").write_text(f"subjectAltName=IP:127.0.0.1\nextendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n")
        signed = ["-CA", file("ca.pem"), "-CAkey", file("ca.key"), "-CAcreateserial", "-extfile", file(f"{name}.ext")]
        openssl("x509", "-req", "-in", file(f"{name}.csr"), *signed, "-days", "2", "-out", file(f"{name}.pem"))


@checks("TLS: the server is verified, and gets our certificate")
def _(_none):
    folder = fresh("redis-tls")
    certificates(folder)
    file = lambda name: str(folder / name)
    context = trusting(folder / "ca.pem", folder / "client.pem", folder / "client.key")
    options = ["--tls-cert-file", file("server.pem"), "--tls-key-file", file("server.key"), "--tls-ca-cert-file", file("ca.pem")]
    with Redis(*options, tls=context) as server:
        redis = server.client()
        own = {"cert": file("client.pem"), "key": file("client.key")}
        for number, (tls, is_shared) in enumerate([
            ({"ca": file("ca.pem"), **own}, True),
            ({"ca": (folder / "ca.pem").read_text(), "cert": Path(own["cert"]).read_text(), "key": Path(own["key"]).read_text()}, True),
            ({"insecureSkipVerify": True, **own}, True),
            (own, False),
            ({"ca": file("ca.pem")}, False),
        ]):  # fmt: skip
            with Limited({"endpoints": [server.endpoint], "tls": tls}) as proxy:
                key = f"k{number}"
                equal([proxy.status(key) for _n in range(2)], [200, 429])
                equal(bool(bucket(redis, key)), is_shared, tls)
                equal(proxy.is_alone(), not is_shared, tls)


def is_free(port):
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Cluster:
    """Three nodes, and a client of each."""

    def __init__(self, stack):
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no"]
        ports = []
        while len(ports) < 3:
            (port,) = free_ports(1)
            # The nodes speak to each other on ports that are 10,000 higher: below the kernel's
            # own range, too, and nobody's.
            if port < 22_000 and port not in ports and is_free(port + 10_000):
                ports.append(port)
        self.nodes = [stack.enter_context(Redis(*options, port=port, name="node")) for port in ports]
        self.asks = {node.port: node.client() for node in self.nodes}
        addresses = [node.endpoint for node in self.nodes]
        subprocess.run(["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"], check=True, capture_output=True)
        for ask in self.asks.values():
            eventually(20, lambda: "cluster_state:ok" in ask("CLUSTER", "INFO") and "cluster_known_nodes:3" in ask("CLUSTER", "INFO"))

    def owner(self, key):
        """The port of the node that has a key."""
        for port, ask in self.asks.items():
            if f"rate:limit@file:{key}" in ask("KEYS", "*"):
                return port
        return None

    def id(self, port):
        return self.asks[port]("CLUSTER", "MYID")


@checks("in a cluster each key is counted on its node, and found where it moves to")
def _(_none):
    with ExitStack() as stack:
        cluster = Cluster(stack)
        endpoints = [node.endpoint for node in cluster.nodes[:2]]
        proxy = stack.enter_context(Limited({"endpoints": endpoints}))
        keys = [f"k{n}" for n in range(12)]
        equal([proxy.status(key) for _n in range(2) for key in keys], [200] * 12 + [429] * 12)
        equal({cluster.owner(key) for key in keys}, set(cluster.asks))
        assert ALONE not in proxy.log, proxy.log

        # A slot on its way: the old node knows the key no more, and says who to ask.
        key = keys[0]
        old = cluster.owner(key)
        new = next(port for port in cluster.asks if port != old)
        slot = cluster.asks[old]("CLUSTER", "KEYSLOT", f"rate:limit@file:{key}")
        cluster.asks[new]("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.id(old))
        cluster.asks[old]("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.id(new))
        cluster.asks[old]("DEL", f"rate:limit@file:{key}")
        equal([proxy.status(key) for _n in range(2)], [200, 429])
        equal(cluster.owner(key), new)
        for port in (new, old):
            cluster.asks[port]("CLUSTER", "SETSLOT", slot, "NODE", cluster.id(new))
        equal(proxy.status(key), 429)
        assert ALONE not in proxy.log, proxy.log

        # A node that is gone: its keys are counted here, and no request fails.
        lost = next(node for node in cluster.nodes if node.port == new)
        lost.stop()
        for _n in range(3):
            equal({proxy.status(f"after{n}") for n in range(20)} - {200, 429}, set())


@checks("nodes that send a request around are asked a few times only")
def _(_none):
    def around(stream):
        while stream.recv(65536):
            stream.sendall(f"-MOVED 1 127.0.0.1:{port}\r\n".encode())

    with Fake(around) as fake:
        port = fake.port
        with Limited({"endpoints": [fake.endpoint]}) as proxy:
            equal([proxy.status("k") for _n in range(2)], [200, 429])
            eventually(5, lambda: "too often" in proxy.log)


@checks("a node that hangs has only its own keys counted here, and a client that gives up takes no verdict with it")
def _(_none):
    def node(stream):
        while asked := stream.recv(65536):
            moved = f"-MOVED 1 {hung.endpoint}\r\n".encode()
            stream.sendall(moved if b":lost" in asked else b"*2\r\n:0\r\n:1000000\r\n")

    with Fake(lambda stream: stream.recv(1)) as hung, Fake(node) as entry:
        with Limited({"endpoints": [entry.endpoint], "readTimeout": "1s"}, workers=1, burst=50) as proxy:
            # Nobody waits for an answer about this key.
            with socket.create_connection(("127.0.0.1", proxy.port)) as stream:
                stream.sendall(b"GET /one HTTP/1.1\r\nHost: a\r\nX-Key: lost\r\n\r\n")
                eventually(10, lambda: hung.open)
            eventually(20, lambda: f"{hung.endpoint}: no answer in time; until it answers, {ALONE}" in proxy.log)
            equal([proxy.status("lost") for _n in range(5)], [200] * 5)
            equal([proxy.status("kept") for _n in range(5)], [429] * 5)


@checks("a socket of this machine will do")
def _(_none):
    folder = fresh("redis-socket")
    with Redis("--unixsocket", f"{folder}/r.sock") as server:
        with Limited({"endpoints": [f"{folder}/r.sock"]}) as proxy:
            equal([proxy.status("k") for _n in range(2)], [200, 429])
            assert bucket(server.client(), "k")


if __name__ == "__main__":
    sys.exit(checks.run(nullcontext()))
