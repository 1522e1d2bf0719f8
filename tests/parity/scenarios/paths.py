"""Middlewares that change the path or answer with a redirection."""

from side.table import Stage

STAGE = Stage()
STAGE.labels("traefik.http.services.app.loadbalancer.server.port=8080")

s = STAGE.scenario("addPrefix")
s.middleware("add", "addprefix.prefix=/foo")
s.middleware("add-bare", "addprefix.prefix=foo")
s.middleware("add-slash", "addprefix.prefix=/foo/")
for where in ("add.test/", "add.test/x?y=1", "add.test/a%2Fb", "add-bare.test/x", "add-slash.test/x", "add.test//x"):
    s.get(where)
s.post("add.test/p", body="hello")

s = STAGE.scenario("stripPrefix")
s.middleware("strip", "stripprefix.prefixes=/api,/v2/")
s.middleware("strip-both", "stripprefix.prefixes=/api/users,/api")
s.middleware("strip-force", "stripprefix.prefixes=/api\nstripprefix.forceslash=false")
for target in ("/api", "/api/", "/api/x/", "/apix", "/v2/x", "/v2", "/api?x", "/api./x", "/api../x", "/api%2Fx", "/other", "/API/x", "/api/api/x", "/"):
    s.get("strip.test" + target)
s.get("strip.test/api/x", "X-Forwarded-Prefix: /mine")
s.get("strip-both.test/api/users/7")
s.get("strip-both.test/api/x")
s.get("strip-force.test/api")
s.get("strip-force.test/api/x")

s = STAGE.scenario("stripPrefixRegex")
s.middleware("strip-re", "stripprefixregex.regex=/api/v[0-9]+,/[a-z]{3}/")
for target in ("/api/v12/x", "/api/v1", "/abc/x/", "/abcd/x", "/x/api/v1", "/api/v1?q=/api/v2", "/"):
    s.get("strip-re.test" + target)

s = STAGE.scenario("replacePath")
s.middleware("replace", "replacepath.path=/new")
s.middleware("replace-encoded", "replacepath.path=/new%20path")
for where in ("replace.test/", "replace.test/old?q=1", "replace.test/a%2Fb%20c", "replace-encoded.test/x"):
    s.get(where)

s = STAGE.scenario("replacePathRegex")
s.middleware("rewrite", "replacepathregex.regex=^/api/(.*)/(.*)\nreplacepathregex.replacement=/$2/$1")
s.middleware("rewrite-braces", "replacepathregex.regex=^/user/([0-9]+)\nreplacepathregex.replacement=/${1}id")
s.middleware("rewrite-up", "replacepathregex.regex=^/up/(.*)\nreplacepathregex.replacement=/$1/../../x")
for where in ("rewrite.test/api/a/b?q=1", "rewrite.test/api/a", "rewrite.test/other", "rewrite.test/api/a%2Fb/c", "rewrite-braces.test/user/12/x", "rewrite-up.test/up/x"):
    s.get(where)

s = STAGE.scenario("redirectScheme")
s.middleware("scheme", "redirectscheme.scheme=https")
s.middleware("scheme-port", "redirectscheme.scheme=https\nredirectscheme.port=8443")
s.middleware("scheme-443", "redirectscheme.scheme=https\nredirectscheme.port=443")
s.middleware("scheme-permanent", "redirectscheme.scheme=https\nredirectscheme.permanent=true")
s.middleware("scheme-same", "redirectscheme.scheme=http")
for method in ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"):
    s.ask(method, "scheme.test/a?b=1")
    s.ask(method, "scheme-permanent.test/a?b=1")
s.get("scheme-port.test/a")
s.get("scheme-443.test/a")
s.get("scheme.test:99/a", name="a port in Host")
s.get("scheme.test/a", "X-Forwarded-Proto: https")
s.get("scheme-same.test/a")
s.get("scheme.test/a%2Fb?x=%20y&z")

s = STAGE.scenario("redirectRegex")
s.middleware("regex", "redirectregex.regex=^http://regex.test/old/(.*)\nredirectregex.replacement=http://new.test/${1}")
s.middleware("regex-permanent", "redirectregex.regex=^http://(.*)/(.*)\nredirectregex.replacement=https://$1/x/$2\nredirectregex.permanent=true")
s.middleware("regex-same", "redirectregex.regex=^(.*)$\nredirectregex.replacement=$1")
s.middleware("regex-relative", "redirectregex.regex=^http://[^/]+/(.*)\nredirectregex.replacement=/moved/$1")
for where in ("regex.test/old/a?b=1", "regex.test/new", "regex-permanent.test/a?x=1", "regex-same.test/a", "regex-relative.test/q"):
    s.get(where)
for method in ("POST", "HEAD", "PATCH"):
    s.ask(method, "regex.test/old/x")
    s.ask(method, "regex-permanent.test/x")
s.get("regex.test:8000/old/x", name="a port in Host")

s = STAGE.scenario("chain")
s.labels("""
traefik.http.middlewares.one.addprefix.prefix=/one
traefik.http.middlewares.two.addprefix.prefix=/two
traefik.http.middlewares.inner.chain.middlewares=one,two
traefik.http.middlewares.loop.chain.middlewares=loop
""")
s.middleware("chain", "chain.middlewares=inner,one")
s.rule("several", "Host(`several.test`)", more="middlewares=two,one,two")
s.rule("looped", "Host(`looped.test`)", more="middlewares=loop")
s.rule("absent", "Host(`absent.test`)", more="middlewares=one,nothere")
s.rule("other-provider", "Host(`other.test`)", more="middlewares=one@docker")
for where in ("chain.test/x", "several.test/x", "looped.test/x", "absent.test/x", "other.test/x"):
    s.get(where)
for name in ("looped", "absent", "chain"):
    s.api(f"/api/http/routers/{name}@docker", pick=["status", "middlewares", "rule"])

s = STAGE.scenario("encodedCharacters")
NAMES = {"Slash": "%2F", "BackSlash": "%5C", "NullCharacter": "%00", "Semicolon": "%3B", "Percent": "%25", "QuestionMark": "%3F", "Hash": "%23"}
s.middleware("encoded", "encodedcharacters.allowencodedslash=true")
s.middleware("encoded-none", "encodedcharacters.allowencodedslash=false")
for code in NAMES.values():
    s.get(f"encoded.test/a{code}b")
s.get("encoded-none.test/a%2fb")
s.get("encoded-none.test/a%20b?x=%2F")
for option, code in NAMES.items():
    s.middleware(f"encoded-{option.lower()}", f"encodedcharacters.allowencoded{option.lower()}=true")
    s.get(f"encoded-{option.lower()}.test/a{code}b")
