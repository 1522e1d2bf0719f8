"""An OpenTelemetry collector: takes OTLP over HTTP and gRPC, and keeps what came, decoded."""

import gzip
import http.server
import socket
import ssl
import struct
import threading

# The part of OTLP's protobuf messages that is looked at: field number -> (name, kind). A kind is
# text, id (bytes as hex), int, fixed64, fixed32, double, packed fixed64s or doubles, or a message.
# A list is a repeated field.
ANY = {1: ("text", "text"), 2: ("bool", "int"), 3: ("int", "int"), 4: ("double", "double")}
ANY[5] = ("array", {1: ("values", [ANY])})
ATTRIBUTES = [{1: ("key", "text"), 2: ("value", ANY)}]
RESOURCE = {1: ("attributes", ATTRIBUTES)}
SCOPE = {1: ("name", "text"), 2: ("version", "text"), 3: ("attributes", ATTRIBUTES)}
EVENT = {1: ("time", "fixed64"), 2: ("name", "text"), 3: ("attributes", ATTRIBUTES)}
SPAN = {
    1: ("trace", "id"),
    2: ("id", "id"),
    3: ("state", "text"),
    4: ("parent", "id"),
    5: ("name", "text"),
    6: ("kind", "int"),
    7: ("start", "fixed64"),
    8: ("end", "fixed64"),
    9: ("attributes", ATTRIBUTES),
    11: ("events", [EVENT]),
    15: ("status", {2: ("message", "text"), 3: ("code", "int")}),
    16: ("flags", "fixed32"),
}
NUMBER = {
    2: ("start", "fixed64"),
    3: ("time", "fixed64"),
    4: ("double", "double"),
    6: ("int", "fixed64"),
    7: ("attributes", ATTRIBUTES),
}
HISTOGRAM = {
    2: ("start", "fixed64"),
    3: ("time", "fixed64"),
    4: ("count", "fixed64"),
    5: ("sum", "double"),
    6: ("buckets", "fixed64s"),
    7: ("bounds", "doubles"),
    9: ("attributes", ATTRIBUTES),
    11: ("min", "double"),
    12: ("max", "double"),
}
METRIC = {
    1: ("name", "text"),
    2: ("about", "text"),
    3: ("unit", "text"),
    5: ("gauge", {1: ("points", [NUMBER])}),
    7: ("sum", {1: ("points", [NUMBER]), 2: ("temporality", "int"), 3: ("monotonic", "int")}),
    9: ("histogram", {1: ("points", [HISTOGRAM]), 2: ("temporality", "int")}),
}
RECORD = {
    1: ("time", "fixed64"),
    2: ("severity", "int"),
    3: ("level", "text"),
    5: ("body", ANY),
    6: ("attributes", ATTRIBUTES),
    8: ("flags", "fixed32"),
    9: ("trace", "id"),
    10: ("span", "id"),
    11: ("observed", "fixed64"),
}


def export(item):
    scoped = {1: ("scope", SCOPE), 2: ("items", [item]), 3: ("schema", "text")}
    return {1: ("resources", [{1: ("resource", RESOURCE), 2: ("scopes", [scoped]), 3: ("schema", "text")}])}


SIGNALS = {"traces": export(SPAN), "metrics": export(METRIC), "logs": export(RECORD)}
SERVICES = {
    f"/opentelemetry.proto.collector.{package}.v1.{name}/Export": signal
    for package, name, signal in (
        ("trace", "TraceService", "traces"),
        ("metrics", "MetricsService", "metrics"),
        ("logs", "LogsService", "logs"),
    )
}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """Every field of a message: its number and what it holds, undecoded."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 1:
            value, at = data[at : at + 8], at + 8
        elif wire == 5:
            value, at = data[at : at + 4], at + 4
        elif wire == 2:
            length, at = varint(data, at)
            assert at + length <= len(data), f"field {number} is longer than its message"
            value, at = data[at : at + length], at + length
        else:
            raise AssertionError(f"field {number} has wire type {wire}")
        yield number, value


def scalar(kind, value):
    if kind == "text":
        return value.decode()
    if kind == "id":
        return value.hex()
    if kind == "int":
        return value - (1 << 64) if value >> 63 else value
    if kind == "fixed64":
        return struct.unpack("<q", value)[0]
    if kind == "fixed32":
        return struct.unpack("<i", value)[0]
    if kind == "double":
        return struct.unpack("<d", value)[0]
    if kind == "fixed64s":
        return list(struct.unpack(f"<{len(value) // 8}q", value))
    if kind == "doubles":
        return list(struct.unpack(f"<{len(value) // 8}d", value))
    raise AssertionError(kind)


def decode(message, data):
    found = {name: [] for name, kind in message.values() if isinstance(kind, list)}
    for number, value in fields(data):
        if number not in message:
            continue
        name, kind = message[number]
        if isinstance(kind, list):
            found[name].append(decode(kind[0], value))
        elif isinstance(kind, dict):
            found[name] = decode(kind, value)
        else:
            found[name] = scalar(kind, value)
    if "attributes" in found:
        found["attributes"] = {pair["key"]: plain(pair.get("value", {})) for pair in found["attributes"]}
    return found


def plain(value):
    """An attribute's value as Python has it."""
    if "array" in value:
        return [plain(each) for each in value["array"]["values"]]
    if "bool" in value:
        return bool(value["bool"])
    return next(iter(value.values()), None)


class Collector:
    """Listens on `http` and `grpc` of this machine; `spans`, `metrics` and `records` came so far.

    Each item also has its `resource` (attributes) and `scope` (name, version)."""

    def __init__(self, context=None):
        self.lock = threading.Lock()
        self.spans, self.metrics, self.records = [], [], []
        self.requests = []
        # What is answered instead of 200, as long as there is something in it.
        self.refusals = []
        self.context = context
        self.ends = threading.Event()
        self.web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.web.daemon_threads = True
        if context:
            self.web.socket = context.wrap_socket(self.web.socket, server_side=True)
        self.http = self.web.server_address[1]
        self.rpc = socket.create_server(("127.0.0.1", 0))
        self.grpc = self.rpc.getsockname()[1]
        for target in (self.web.serve_forever, self.accept):
            threading.Thread(target=target, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.web.shutdown()
        self.web.server_close()
        self.rpc.close()

    def take(self, signal, data, headers, path):
        kept = {"traces": self.spans, "metrics": self.metrics, "logs": self.records}[signal]
        export = decode(SIGNALS[signal], data)
        with self.lock:
            self.requests.append({"path": path, "headers": dict(headers), "bytes": len(data)})
            for resource in export["resources"]:
                about = resource.get("resource", {}).get("attributes", {})
                for scope in resource["scopes"]:
                    for item in scope["items"]:
                        kept.append({**item, "resource": about, "scope": scope.get("scope", {})})

    def refusal(self):
        with self.lock:
            return self.refusals.pop(0) if self.refusals else None

    def handler(collector):  # noqa: N805, the handler has a self of its own
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                data = self.body()
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = collector.refusal()
                if status is None:
                    status = 200
                    if headers.get("content-encoding") == "gzip":
                        data = gzip.decompress(data)
                    collector.take(self.path.rsplit("/", 1)[-1], data, headers, self.path)
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def body(self):
                if "chunked" not in self.headers.get("transfer-encoding", ""):
                    return self.rfile.read(int(self.headers.get("content-length", 0)))
                data = b""
                while size := int(self.rfile.readline(), 16):
                    data += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return data

            def log_message(self, *_):
                pass

            def handle(self):
                try:
                    super().handle()
                except (OSError, ssl.SSLError):
                    pass  # Whoever asked has gone meanwhile.

        return Handler

    def accept(self):
        while True:
            try:
                peer, _address = self.rpc.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_quietly, args=(peer,), daemon=True).start()

    def serve_quietly(self, peer):
        try:
            if self.context:
                peer = self.context.wrap_socket(peer, server_side=True)
            self.serve(peer)
        except (OSError, ssl.SSLError):
            pass
        finally:
            peer.close()

    def serve(self, peer):
        """One gRPC connection."""
        import h2.config
        import h2.connection
        import h2.events

        connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        connection.initiate_connection()
        peer.sendall(connection.data_to_send())
        calls = {}
        while not self.ends.is_set():
            data = peer.recv(65536)
            if not data:
                return
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    calls[event.stream_id] = (dict(event.headers), bytearray())
                elif isinstance(event, h2.events.DataReceived):
                    calls[event.stream_id][1].extend(event.data)
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if getattr(event, "stream_ended", None) or isinstance(event, h2.events.StreamEnded):
                    if event.stream_id in calls:
                        self.answer(connection, event.stream_id, *calls.pop(event.stream_id))
            peer.sendall(connection.data_to_send())

    def answer(self, connection, stream, headers, body):
        import h2.exceptions

        status = self.refusal() or 0
        if not status:
            packed, length = struct.unpack(">BI", bytes(body[:5]))
            data = bytes(body[5 : 5 + length])
            data = gzip.decompress(data) if packed else data
            self.take(SERVICES[headers[":path"]], data, headers, headers[":path"])
        try:
            connection.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
            if not status:
                connection.send_data(stream, b"\0\0\0\0\0")
            connection.send_headers(stream, [("grpc-status", str(status))], end_stream=True)
        except (h2.exceptions.StreamClosedError, h2.exceptions.StreamIDTooLowError):
            pass  # Whoever asked has given up meanwhile.


def latest(collector):
    """Each metric as it was told last: name -> (kind, unit, its points by their attributes)."""
    found = {}
    with collector.lock:
        metrics = list(collector.metrics)
    for metric in metrics:
        kind = next(kind for kind in ("sum", "gauge", "histogram") if kind in metric)
        points = {tuple(sorted(point["attributes"].items())): point for point in metric[kind]["points"]}
        found[metric["name"]] = (kind, metric["unit"], points)
    return found


def tree(spans):
    """Spans below their parents: (span, [children]), roots first, by start."""
    known = {span["id"] for span in spans}
    below = {}
    for span in sorted(spans, key=lambda span: (span["start"], -span["end"])):
        parent = span.get("parent", "")
        below.setdefault(parent if parent in known else "", []).append(span)

    def node(span):
        return span, [node(child) for child in below.get(span["id"], [])]

    return [node(span) for span in below.get("", [])]
