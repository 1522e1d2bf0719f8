"""What differs from run to run is replaced, by rules that have names.

Each rule says what it takes out and still checks its form: a Date that is no date stays as it is.
"""

import gzip
import hashlib
import json
import re
import urllib.parse

DATE = re.compile(r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$")


class Names:
    """Words for what the run chose: ports, addresses, the host's name, the hashes of addresses."""

    def __init__(self):
        self.words = {}

    def add(self, text, word):
        self.words[text] = word

    def server(self, url, word):
        """A server's URL, and what a sticky cookie makes of it."""
        self.add(url, word)
        self.add(url.split("://")[1], f"{word}:addr")
        self.add(sticky(url), f"<sticky {word.strip('<>')}>")

    def __call__(self, text):
        # Longest first: an address with a port before the address.
        for found in sorted(self.words, key=len, reverse=True):
            if found in text:
                text = re.sub(rf"(?<![\w.]){re.escape(found)}(?![\d])", self.words[found], text)
        return text


def sticky(url):
    """What Traefik puts in a sticky cookie for a server."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def sort(body, path):
    """Rule `sort`: a list whose order means nothing."""
    for key in path[:-1]:
        body = body[key]
    body[path[-1]].sort(key=json.dumps)


def answer(found, names):
    """An answer as it is compared and recorded."""
    if "closed" in found and "status" not in found:
        return {"closed": found["closed"]}
    kept = {"status": found["status"]}
    for key in ("version", "closed", "tls"):
        if key in found:
            kept[key] = found[key]
    headers = fields(found["headers"], names)
    body = found["body"]
    headers = framing(headers, body)
    if "interim" in found:
        kept["interim"] = [[code, fields(lines, names)] for code, lines in found["interim"]]
    if "trailers" in found:
        kept["trailers"] = fields(found["trailers"], names)
    kept["headers"] = headers
    # How much came before the end is chance.
    kept["body"] = "<cut off>" if found.get("closed") == "in the body" else content(body, names)
    return kept


def unzipped(found):
    """Rule `zipped`: compressed bytes are each library's own. What gzip says is unpacked, of the
    others the magic number is looked at; how long the bytes are is not compared."""
    named = dict(found.get("headers", ()))
    coding, body = named.get("content-encoding"), found.get("body", b"")
    if coding not in ("gzip", "br", "zstd") or not body:
        return found
    if coding == "gzip":
        body = gzip.decompress(body)
    elif coding == "zstd":
        body = b"<zstd>" if body.startswith(b"\x28\xb5\x2f\xfd") else body
    else:
        body = b"<br>"
    fields = [(name, "<its own>" if name == "content-length" else value) for name, value in found["headers"]]
    return {**found, "headers": fields, "body": body}


def lists(shown):
    """Rule `lists`: names of header fields in a list, whose order and case mean nothing (Traefik's
    order is another each time)."""
    for name in ("access-control-allow-headers", "access-control-expose-headers"):
        if value := shown.get("headers", {}).get(name):
            shown["headers"][name] = sorted(part.strip().lower() for part in value.split(","))


def certified(seen, certificates):
    """Rule `certificate`: the PEM text and the dates of this run's client certificate."""
    text = (certificates / "client.crt").read_text()
    bare = "".join(text.split("-----")[2].split())
    for request in seen:
        fields = []
        for name, value in request["headers"]:
            if name.lower().startswith("x-forwarded-tls-client-cert"):
                value = urllib.parse.unquote(value).replace(bare, "<the certificate>").replace(bare.replace("+", " "), "<the certificate>")
                value = re.sub(r'(N[AB])="\d{10}"', r'\1="<time>"', value)
            fields.append((name, value))
        request["headers"] = fields


def usual(shown):
    """Rule `as sent`: an answer just as our servers give it is only said to be one."""
    headers = {"content-length": "<right>"}
    echoed = {**headers, "content-type": "application/json", "x-replica": shown.get("headers", {}).get("x-replica")}
    name = shown.get("headers", {}).get("x-origin")
    plain = {**headers, "content-type": "text/plain", "x-origin": name}
    if (shown.get("body"), shown.get("headers")) in (("<the request>", echoed), (f"{name}\n", plain)):
        kept = {key: value for key, value in shown.items() if key not in ("headers", "body")}
        return {**kept, "as sent": True}
    return shown


def framing(headers, body):
    """Rule `framing`: a Content-Length that is right is only said to be there."""
    if headers.get("content-length") == str(len(body)) and body:
        headers["content-length"] = "<right>"
    return headers


def content(body, names):
    """Rule `body`: text up to 600 characters as it is, more or binary by length and hash."""
    try:
        text = body.decode()
        if len(text) <= 600 and text.isprintable() or all(c.isprintable() or c in "\r\n\t" for c in text) and len(text) <= 600:
            return names(text)
    except UnicodeDecodeError:
        pass
    return f"<{len(body)} bytes, sha256 {hashlib.sha256(body).hexdigest()[:12]}>"


# Rules for header values, by header name; the value must have the form.
VALUES = {
    # Rule `date`.
    "date": (DATE, None),
    "expires": (DATE, "<date>"),
    # Rule `wait`: what is left of a limit's period, in seconds or as a duration.
    "retry-after": (re.compile(r"^\d+$"), "<seconds>"),
    "x-retry-in": (re.compile(r"^[\d.hmsµn]+$"), "<duration>"),
    # Rule `nonce`.
    "www-authenticate": (re.compile(r'(nonce|opaque)="[^"]+"'), r'\1="<random>"'),
}


def fields(pairs, names):
    """Names in lower case and in order, values in the order they came."""
    found = {}
    for name, value in sorted(pairs, key=lambda pair: pair[0].lower()):
        name = name.lower()
        if name in VALUES:
            pattern, instead = VALUES[name]
            if instead is None and pattern.match(value):
                continue
            value = pattern.sub(instead or "", value)
        if name == "set-cookie":
            value = re.sub(r"(?i)(expires=)[^;]+", r"\1<date>", names(value))
            # Rule `sticky`: a hash that is not of an address we know.
            value = re.sub(r"=[0-9a-f]{16}(?=;)", "=<some hash>", value)
        found.setdefault(name, []).append(names(value))
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def upstream(seen, asked, names):
    """A request as a server got it.

    Rule `usual`: the forwarding headers that every request gets are left out when they are as
    always; `missing` names those that are not there."""
    headers = fields(seen["headers"], names)
    port = asked["host"].rpartition(":")[2] if ":" in asked["host"] else ("443" if asked["tls"] else "80")
    usual = {
        "host": names(asked["host"]),
        "accept-encoding": "gzip",
        "x-forwarded-for": "127.0.0.1",
        "x-real-ip": "127.0.0.1",
        "x-forwarded-host": names(asked["host"]),
        "x-forwarded-port": names(port),
        "x-forwarded-proto": "https" if asked["tls"] else "http",
        "x-forwarded-server": "<hostname>",
    }
    sent = {name.lower(): value for name, value in asked["headers"]}
    if "accept-encoding" in sent:
        usual["accept-encoding"] = sent["accept-encoding"]
    missing = sorted(name for name in usual if name not in headers)
    kept = {name: value for name, value in headers.items() if usual.get(name) != value}
    body = seen.get("body") or b""
    kept = framing(kept, body)
    line = f"{seen['method']} {names(seen['target'])}"
    request = {"to": seen["origin"], "line": line}
    if kept:
        request["headers"] = kept
    if missing:
        request["missing"] = missing
    if body:
        request["body"] = content(body, names)
    if seen.get("trailers"):
        request["trailers"] = seen["trailers"]
    if seen.get("protocol", "HTTP/1.1") != "HTTP/1.1":
        request["protocol"] = seen["protocol"]
    return request


def echoed(body):
    """The request in the answer of a demo server, in the form that an origin keeps."""
    seen = json.loads(body)
    if not isinstance(seen, dict) or "replica" not in seen or "headers" not in seen:
        return None
    target = seen["path"] + ("?" + seen["query"] if seen["query"] is not None else "")
    headers = [(name, value) for name, values in seen["headers"].items() for value in values]
    if "host" not in seen["headers"] and seen["host"]:
        headers.append(("host", seen["host"]))
    return {
        "origin": seen["replica"],
        "method": seen["method"],
        "target": target,
        "headers": headers,
        "body": b"",
        "protocol": seen["protocol"],
    }


def tree(value, names):
    """JSON with the run's words replaced everywhere."""
    if isinstance(value, dict):
        return {names(key): tree(inner, names) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [tree(inner, names) for inner in value]
    return names(value) if isinstance(value, str) else value
