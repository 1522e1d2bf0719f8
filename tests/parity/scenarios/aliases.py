"""Header names that servers take for one another, and what an entry point does about them."""

from side.table import Stage

STAGE = Stage(
    [
        *(f"--entryPoints.{name}.asDefault=true" for name in ("web", "kept", "aliases", "reject")),
        "--entryPoints.kept.http.aliasHeadersStrategy=keep",
        "--entryPoints.aliases.http.aliasHeadersStrategy=delete",
        "--entryPoints.reject.http.aliasHeadersStrategy=reject",
    ],
    entry_points=("web", "kept", "aliases", "reject"),
)
STAGE.labels("traefik.http.services.app.loadbalancer.server.port=8080")

s = STAGE.scenario("aliasHeadersStrategy")
s.rule("all", "Host(`all.test`)")
for entry in STAGE.entry_points:
    s.get("all.test/", "X_Auth_User: forged", "X-Auth-User: real", entry=entry)
    s.get("all.test/", "X.Auth.User: forged", entry=entry)
    s.get("all.test/", "X-Auth-User: real", entry=entry)
