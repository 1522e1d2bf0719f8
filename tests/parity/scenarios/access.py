"""Who may come in: basicAuth, ipAllowList."""

import base64

from side.table import Stage

STAGE = Stage(["--entryPoints.trusting.forwardedHeaders.insecure=true"], entry_points=("web", "trusting"))
STAGE.labels("""
traefik.http.services.app.loadbalancer.server.port=8080
""")


def basic(user, password):
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

s = STAGE.scenario("basicAuth")
USERS = "test:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/,bob:$2b$04$cssPTlj7LN/OHxa7LWnowuPp6zVOMUZeSQQcF80PXld9tQD.pg99G,sha:{SHA}qs67vlse11GdWHE+bbh7CYDxCOs="
s.middleware("basic", f"basicauth.users={USERS}")
s.middleware("basic-realm", f"basicauth.users={USERS}\nbasicauth.realm=Mine \"x\"")
s.middleware("basic-remove", f"basicauth.users={USERS}\nbasicauth.removeheader=true")
s.middleware("basic-field", f"basicauth.users={USERS}\nbasicauth.headerfield=X-User")
s.middleware("basic-plain", "basicauth.users=plain:secret")
s.get("basic.test/")
for user, password in (("test", "test"), ("test", "wrong"), ("bob", "bcryptpw"), ("bob", "no"), ("sha", "shapw"), ("sha", "no"), ("nobody", "test"), ("", ""), ("test", "")):
    s.get("basic.test/", basic(user, password), name=f"basic {user}:{password}")
s.get("basic.test/", "Authorization: Basic !!!", name="not base64")
s.get("basic.test/", "Authorization: Bearer abc", name="another scheme")
s.get("basic.test/", "Authorization: basic " + basic("test", "test").split(" ")[2], name="scheme in lower case")
s.ask("HEAD", "basic.test/")
s.post("basic.test/", body="x")
s.get("basic-realm.test/")
s.get("basic-remove.test/", basic("test", "test"))
s.get("basic-field.test/", basic("bob", "bcryptpw"), "X-User: forged")
s.get("basic-plain.test/", basic("plain", "secret"), name="a password in plain text is not accepted")
s.middleware("basic-none", "basicauth.realm=x")
s.get("basic-none.test/", name="no users")
s.api("/api/http/middlewares/basic-remove@docker", name="the API shows a middleware of users")

s = STAGE.scenario("ipAllowList")
s.middleware("allow", "ipallowlist.sourcerange=127.0.0.2,127.1.0.0/16")
s.middleware("allow-all", "ipallowlist.sourcerange=127.0.0.0/8")
s.middleware("allow-status", "ipallowlist.sourcerange=10.0.0.1\nipallowlist.rejectstatuscode=404")
s.middleware("allow-depth", "ipallowlist.sourcerange=10.0.0.1\nipallowlist.ipstrategy.depth=2")
s.middleware("allow-excluded", "ipallowlist.sourcerange=10.0.0.1\nipallowlist.ipstrategy.excludedips=10.0.0.2,10.1.0.0/16")
s.middleware("allow-both", "ipallowlist.sourcerange=10.0.0.1\nipallowlist.ipstrategy.depth=1\nipallowlist.ipstrategy.excludedips=10.0.0.1")
s.middleware("allow-six", "ipallowlist.sourcerange=2001:db8::/64\nipallowlist.ipstrategy.depth=1\nipallowlist.ipstrategy.ipv6subnet=64")
s.middleware("allow-bad", "ipallowlist.sourcerange=nonsense")
s.get("allow.test/")
s.get("allow.test/", source="127.0.0.2")
s.get("allow.test/", source="127.1.2.3")
s.get("allow.test/", "X-Forwarded-For: 127.0.0.2")
for name in ("allow-all", "allow-status", "allow-bad"):
    s.get(f"{name}.test/")
for name, lists in {
    "allow-depth": ("10.0.0.1, 1.1.1.1", "10.0.0.1", "1.1.1.1, 10.0.0.1", "10.0.0.1,1.1.1.1,2.2.2.2"),
    "allow-excluded": ("10.0.0.1, 10.0.0.2", "10.0.0.1, 10.1.2.3, 10.0.0.2", "10.0.0.2", "9.9.9.9", "nonsense"),
    "allow-both": ("10.0.0.1", "9.9.9.9"),
    "allow-six": ("2001:db8::5", "2001:db9::5"),
}.items():
    for addresses in lists:
        s.get(f"{name}.test/", f"X-Forwarded-For: {addresses}", entry="trusting")
    s.get(f"{name}.test/", entry="trusting")
