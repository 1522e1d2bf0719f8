"""Who may come in, asked in more than one request: digestAuth, forwardAuth."""

import base64
import hashlib
import re

from side.table import Reply, Stage

STAGE = Stage(["--entryPoints.trusting.forwardedHeaders.insecure=true"], entry_points=("web", "trusting"))
STAGE.labels("""
traefik.http.services.app.loadbalancer.server.port=8080
traefik.http.services.a.loadbalancer.server.url=<a>
""")


def basic(user, password):
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

s = STAGE.scenario("digestAuth")
s.middleware("digest", "digestauth.users=test:traefik:a2688e031edb4be6a3797f3882655c05")
s.middleware("digest-more", "digestauth.users=ann:mine:5037614bba841424025be179b422b00e\ndigestauth.realm=mine\ndigestauth.headerfield=X-User\ndigestauth.removeheader=true")


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def digest(host, user, realm, password, **twist):
    """A probe that asks for a nonce and then answers with it."""

    def ask(running):
        probe = {"kind": "ask", "name": "", "method": "GET", "host": host, "target": "/x?y=1", "headers": [], "body": b""}
        challenge = dict(running.once(probe)["headers"])["www-authenticate"]
        given = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        ha1 = md5(f"{user}:{twist.get('said_realm', realm)}:{password}")
        uri, nc, cnonce, nonce = twist.get("uri", "/x?y=1"), "00000001", "abc", twist.get("nonce", given["nonce"])
        proof = md5(f"{ha1}:{nonce}:{nc}:{cnonce}:auth:{md5('GET:' + uri)}")
        line = f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", algorithm=MD5, qop=auth, nc={nc}, cnonce="{cnonce}", response="{proof}", opaque="{given["opaque"]}"'
        probe["headers"] = [("Authorization", line)]
        found = running.probe_ask(probe)
        for each in found.get("upstream", []):
            if "authorization" in each.get("headers", {}):
                each["headers"]["authorization"] = "<the digest>"
        return found

    return ask


s.get("digest.test/")
s.call("digest: right", digest("digest.test", "test", "traefik", "test"))
s.call("digest: wrong password", digest("digest.test", "test", "traefik", "no"))
s.call("digest: unknown user", digest("digest.test", "nobody", "traefik", "test"))
s.call("digest: another realm", digest("digest.test", "test", "traefik", "test", said_realm="other"))
s.call("digest: another path", digest("digest.test", "test", "traefik", "test", uri="/other"))
s.call("digest: a nonce we never gave", digest("digest.test", "test", "traefik", "test", nonce="x" * 12))
s.get("digest-more.test/")
s.call("digest: user in a header, its own removed", digest("digest-more.test", "ann", "mine", "secret"))
s.get("digest.test/", basic("test", "test"), name="Basic where Digest is wanted")
s.get("digest.test/", "Authorization: Digest nonsense", name="Digest without fields")

s = STAGE.scenario("forwardAuth")
for name, more in {
    "fwd": "",
    "fwd-headers": "forwardauth.authresponseheaders=X-User,X-Gone\nforwardauth.authrequestheaders=X-Ask",
    "fwd-regex": "forwardauth.authresponseheadersregex=^X-Auth-",
    "fwd-trust": "forwardauth.trustforwardheader=true",
    "fwd-distrust": "forwardauth.trustforwardheader=false",
    "fwd-body": "forwardauth.forwardbody=true\nforwardauth.maxbodysize=10",
    "fwd-method": "forwardauth.preserverequestmethod=true",
    "fwd-cookies": "forwardauth.addauthcookiestoresponse=sid,gone",
    "fwd-location": "forwardauth.preservelocationheader=true",
    "fwd-signin": "forwardauth.authsigninurl=https://sign.in/here",
    "fwd-small": "forwardauth.maxresponsebodysize=4",
}.items():
    s.middleware(name, "forwardauth.address=<b>/auth?q=1\n" + more, "a")
s.middleware("fwd-dead", "forwardauth.address=<dead>/auth", "a")


def said(*arguments, **more):
    return {"b": [Reply(*arguments, **more)]}


s.get("fwd.test/x?y=1", "X-A: 1", "Cookie: a=b", "User-Agent: me")
s.get("fwd.test/x", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Prefix: /p", name="forged headers, from an untrusted client")
s.get("fwd.test/x", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Prefix: /p", "X-Forwarded-Proto: https", "X-Real-Ip: 8.8.8.8", "X-Forwarded-Method: PUT", "X-Forwarded-Uri: /forged", entry="trusting", name="trusted headers")
for name in ("fwd-trust", "fwd-distrust"):
    s.get(f"{name}.test/x", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Prefix: /p", "X-Forwarded-Proto: https", "X-Real-Ip: 8.8.8.8", "X-Forwarded-Method: PUT", "X-Forwarded-Uri: /forged", "X-Forwarded-Host: h.test", entry="trusting", name=f"trusted headers, {name}")
s.post("fwd.test/x", "Content-Type: text/plain", body="hello", name="POST: the call is a GET without the body")
s.post("fwd-method.test/x", body="hello", name="POST with preserveRequestMethod")
s.post("fwd-body.test/x", body="hello", name="forwardBody")
s.post("fwd-body.test/x", body="hello, world", name="forwardBody, over maxBodySize")
s.get("fwd-headers.test/x", "X-Ask: a", "X-Other: o", "X-Gone: forged", "X-User: forged", replies=said(200, [("X-User", "ann"), ("X-User", "ann2"), ("X-More", "m")]))
s.get("fwd-regex.test/x", "X-Auth-Old: forged", "X-Keep: k", replies=said(204, [("X-Auth-A", "1"), ("X-Auth-B", "2"), ("X-No", "n")]))
for status in (201, 204, 299):
    s.get("fwd.test/x", replies=said(status), name=f"auth says {status}")
s.get("fwd.test/x", replies=said(401, [("WWW-Authenticate", "Basic realm=x"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Type", "text/html"), ("Connection", "close"), ("X-Why", "w")], "<b>no</b>"), name="auth says 401", without=["connection"])
s.get("fwd.test/x", replies=said(403, {}, "forbidden"), name="auth says 403")
s.get("fwd.test/x", replies=said(500, {}, "broken"), name="auth says 500")
s.ask("HEAD", "fwd.test/x", replies=said(401, {}, "no"), name="HEAD, auth says 401")
for name in ("fwd", "fwd-location"):
    for location in ("/login?x=1", "https://else.where/login", "login"):
        s.get(f"{name}.test/x", replies=said(302, {"Location": location}), name=f"{name}: redirected to {location}")
s.get("fwd-signin.test/x?y=1", replies=said(401, {}, "no"), name="authSigninURL, 401")
s.get("fwd-signin.test/x?y=1", replies=said(403, {}, "no"), name="authSigninURL, 403")
s.get("fwd-cookies.test/x", replies={"b": [Reply(200, [("Set-Cookie", "sid=1; Path=/"), ("Set-Cookie", "other=2")])], "a": [Reply(200, [("Set-Cookie", "sid=old"), ("Set-Cookie", "mine=3")], "x")]})
s.get("fwd-small.test/x", replies=said(401, {}, "longer than four"), name="maxResponseBodySize exceeded")
s.get("fwd-small.test/x", replies=said(401, {}, "1234"), name="maxResponseBodySize kept")
s.get("fwd-dead.test/x", name="no auth server")
s.get("fwd.test/x", replies={"b": [Reply(act="close")] * 4}, upstream=0, without=["upstream"], name="the auth server closes")
s.ask("OPTIONS", "fwd.test/x")
s.get("fwd.test/a%2Fb/../c?x=%20", name="the path as the auth server sees it")
