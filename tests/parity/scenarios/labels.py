"""Containers: names, defaults, states, conflicts, and labels that can't be read."""

from side.table import Stage

STAGE = Stage(["--providers.docker.defaultRule=Host(`{{ normalize .Name }}.by.rule`)", "--entryPoints.web.asDefault=true"])
SERVICE = "traefik.http.services.{0}.loadbalancer.server.port=8080"


def only(name, text, **more):
    STAGE.container(name, text, **more)


s = STAGE.scenario("names and defaults")
only("nothing", "")
only("one_service", SERVICE.format("renamed"))
only("two-services", SERVICE.format("left") + "\n" + SERVICE.format("right"))
only("routers-only", "traefik.http.routers.ra.rule=Host(`ra.test`)\ntraefik.http.routers.rb.rule=Host(`rb.test`)")
only("no-rule", "traefik.http.routers.norule.priority=7")
only("empty-rule", "traefik.http.routers.emptyrule.rule=")
only("ambiguous", "traefik.http.routers.amb.rule=Host(`amb.test`)\n" + SERVICE.format("amb1") + "\n" + SERVICE.format("amb2"))
only("chosen", "traefik.http.routers.chosen.rule=Host(`chosen.test`)\ntraefik.http.routers.chosen.service=ch1\n" + SERVICE.format("ch1") + "\n" + SERVICE.format("ch2"))
only("ghost", "traefik.http.routers.ghost.rule=Host(`ghost.test`)\ntraefik.http.routers.ghost.service=nothere")
only("disabled", "traefik.enable=false\ntraefik.http.routers.disabled.rule=Host(`disabled.test`)")
only("CamelCase", "traefik.http.routers.CamelRouter.rule=Host(`camel.test`)\ntraefik.http.routers.CamelRouter.middlewares=CamelMw\ntraefik.http.middlewares.CamelMw.addprefix.prefix=/c")
only("upper-keys", "traefik.HTTP.Routers.upper.RULE=Host(`upper.test`)\ntraefik.http.ROUTERS.upper.Priority=9")
only("blanks", "traefik.http.routers.blanks.rule=Host(`blanks.test`)\ntraefik.http.routers.blanks.middlewares= b1 , b2\ntraefik.http.middlewares.b1.addprefix.prefix=/1\ntraefik.http.middlewares.b2.addprefix.prefix=/2")
only("tcp-only", "traefik.tcp.routers.t.rule=HostSNI(`*`)\ntraefik.tcp.routers.t.tls=true\ntraefik.tcp.services.t.loadbalancer.server.port=8080")
for host in ("nothing-parity.by.rule", "one-service-parity.by.rule", "two-services-parity.by.rule", "ra.test", "rb.test", "no-rule-parity.by.rule", "empty-rule-parity.by.rule", "amb.test", "chosen.test", "ghost.test", "disabled.test", "disabled-parity.by.rule", "camel.test", "upper.test", "blanks.test"):
    s.get(host + "/")
for name in ("nothing-parity", "one-service-parity", "ra", "norule", "emptyrule", "chosen", "ghost", "CamelRouter", "upper", "blanks"):
    s.api(f"/api/http/routers/{name}@docker", pick=["rule", "service", "status", "priority", "middlewares", "name"])
for name in ("nothing-parity", "renamed", "left", "routers-only-parity", "CamelCase-parity"):
    s.api(f"/api/http/services/{name}@docker", pick=["loadBalancer", "status", "usedBy", "name"])

s = STAGE.scenario("ports")
only("port-many", "traefik.http.routers.pmany.rule=Host(`pmany.test`)", extra={"ExposedPorts": {"9000/tcp": {}, "8080/tcp": {}, "8081/udp": {}}})
only("port-label", "traefik.http.routers.plabel.rule=Host(`plabel.test`)\n" + SERVICE.format("plabel"), extra={"ExposedPorts": {"1234/tcp": {}}})
only("port-scheme", "traefik.http.routers.pscheme.rule=Host(`pscheme.test`)\ntraefik.http.services.pscheme.loadbalancer.server.url=http://1.2.3.4:5\ntraefik.http.services.pscheme.loadbalancer.server.port=8080")
only("port-host", "traefik.http.routers.phost.rule=Host(`phost.test`)\ntraefik.http.services.phost.loadbalancer.server.port=1", network="host")
for host in ("pmany.test", "plabel.test", "pscheme.test", "phost.test"):
    s.get(host + "/")
for name in ("port-many-parity", "plabel", "pscheme", "phost"):
    s.api(f"/api/http/services/{name}@docker", pick=["status", "usedBy"])

s = STAGE.scenario("the same name twice")
for turn in ("one", "two"):
    only(f"same-{turn}", "traefik.http.routers.same.rule=Host(`same.test`)\n" + SERVICE.format("same"))
    only(f"rdiff-{turn}", f"traefik.http.routers.rdiff.rule=Host(`rdiff-{turn}.test`)\ntraefik.http.routers.rdiff.service=rdiff\n" + SERVICE.format("rdiff"))
    only(f"mdiff-{turn}", f"traefik.http.routers.mdiff.rule=Host(`mdiff.test`)\ntraefik.http.routers.mdiff.middlewares=mdiff\ntraefik.http.routers.mdiff.service=mdiff\n{SERVICE.format('mdiff')}\ntraefik.http.middlewares.mdiff.addprefix.prefix=/{turn}")
for host in ("same.test", "mdiff.test"):
    s.spread(host + "/", 6, shows="statuses")
s.api("/api/http/services/same@docker", pick=["serverStatus", "status"])

s = STAGE.scenario("labels that can't be read")
BAD = {
    "field": "traefik.http.routers.{0}.nosuchfield=1",
    "kind": "traefik.http.middlewares.x{0}.nosuchmw.y=1",
    "number": "traefik.http.routers.{0}.priority=abc",
    "duration": "traefik.http.middlewares.x{0}.ratelimit.period=notadur",
    "boolean": "traefik.http.services.{0}.loadbalancer.passhostheader=perhaps",
    "enable": "traefik.enable=maybe",
    "docker": "traefik.docker.nosuch=1",
    "enabled": "traefik.enabled=true",
    "no-name": "traefik.http.routers..rule=Host(`x`)",
    "alone": "traefik.http.middlewares.x{0}.headers=true",
    "servers": "traefik.http.services.{0}.loadbalancer.servers[0].port=1",
    "root": "Traefik.http.routers.x{0}.rule=Host(`y`)",
    "weighted": "traefik.http.services.{0}.weighted.services[0].name=x",
    "other-root": "traefik.nonsense.x=1",
    "section": "traefik.http.nonsense.x=1",
}
for name, line in BAD.items():
    only(f"bad-{name}", f"traefik.http.routers.bad{name}.rule=Host(`bad-{name}.test`)\n" + line.format(f"bad{name}"))
    s.get(f"bad-{name}.test/")
    s.api(f"/api/http/routers/bad{name}@docker", pick=["status"])

s = STAGE.scenario("states")
only("created", "traefik.http.routers.stopped.rule=Host(`stopped.test`)\n" + SERVICE.format("stopped"), then="stop")
only("kept", "traefik.docker.allowNonRunning=true\ntraefik.http.routers.keptdown.rule=Host(`keptdown.test`)\n" + SERVICE.format("keptdown"), then="stop")
only("paused", "traefik.http.routers.paused.rule=Host(`paused.test`)\n" + SERVICE.format("paused"), then="pause")
only("sick", "traefik.http.routers.sick.rule=Host(`sick.test`)\n" + SERVICE.format("sick"), extra={"Healthcheck": {"Test": ["CMD", "/wharf", "nonsense"], "Interval": 3600000000000}})
for host in ("stopped.test", "keptdown.test", "paused.test", "sick.test"):
    s.get(host + "/")
