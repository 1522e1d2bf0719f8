"""TLS: which certificate, which options, client certificates and what is said of them."""

from side.table import Stage

STAGE = Stage(["--entryPoints.always.http.tls=true", "--entryPoints.always.http.tls.options=strong@file"], entry_points=("web", "websecure", "always"))
STAGE.labels("traefik.http.services.app.loadbalancer.server.port=8080")
STAGE.file("""
http:
  middlewares:
    unused:
      addPrefix:
        prefix: /unused
tls:
  certificates:
    - certFile: <certificates>/server.crt
      keyFile: <certificates>/server.key
    - certFile: <certificates>/other.crt
      keyFile: <certificates>/other.key
  options:
    strong:
      minVersion: VersionTLS13
    asks:
      clientAuth:
        caFiles:
          - <certificates>/authority.crt
        clientAuthType: VerifyClientCertIfGiven
    needs:
      clientAuth:
        caFiles:
          - <certificates>/authority.crt
        clientAuthType: RequireAndVerifyClientCert
    any:
      clientAuth:
        clientAuthType: RequireAnyClientCert
""")

s = STAGE.scenario("routers with and without TLS")
s.rule("plain", "Host(`plain.parity.test`)")
s.rule("tls", "Host(`tls.parity.test`)", more="tls=true")
s.rule("tls-off", "Host(`off.parity.test`)", more="tls=false")
for host in ("plain.parity.test", "tls.parity.test", "off.parity.test"):
    s.get(f"{host}/", entry="websecure")
    s.get(f"{host}/", entry="websecure", tls={})
s.get("plain.parity.test/", entry="always", tls={}, name="an entry point with TLS gives it to every router")
s.api("/api/http/routers/tls@docker", pick=["tls", "status", "entryPoints"])
s.api("/api/http/routers/plain@docker", pick=["tls", "status", "using"])

s = STAGE.scenario("client certificates")
for name in ("asks", "needs", "any"):
    s.rule(name, f"Host(`{name}.parity.test`)", more=f"entrypoints=websecure\ntls.options={name}@file\nmiddlewares=pass-{name}")
    s.labels(f"traefik.http.middlewares.pass-{name}.passtlsclientcert.info.subject.commonname=true")
for name in ("asks", "needs", "any"):
    for certificate in (None, "client"):
        s.get(f"{name}.parity.test/", entry="websecure", tls={"certificate": certificate} if certificate else {}, name=f"{name}, {certificate or 'no'} certificate")
s.get("asks.parity.test/", "X-Forwarded-Tls-Client-Cert: forged", "X-Forwarded-Tls-Client-Cert-Info: forged", entry="websecure", tls={}, name="forged headers go")

s = STAGE.scenario("passTLSClientCert")
INFO = {
    "pem": "pem=true",
    "subject": "\n".join(f"info.subject.{field}=true" for field in ("country", "province", "locality", "organization", "organizationalunit", "commonname", "serialnumber", "domaincomponent")),
    "issuer": "\n".join(f"info.issuer.{field}=true" for field in ("country", "province", "locality", "organization", "commonname", "serialnumber", "domaincomponent")),
    "rest": "info.sans=true\ninfo.serialnumber=true",
    "few": "info.subject.commonname=true\ninfo.issuer.organization=true\ninfo.sans=true",
    "dates": "info.notafter=true\ninfo.notbefore=true",
}
for name, lines in INFO.items():
    s.middleware(f"cert-{name}", "\n".join(f"passtlsclientcert.{line}" for line in lines.splitlines()), router="entrypoints=websecure\ntls.options=asks@file")
    s.get(f"cert-{name}.test/", entry="websecure", tls={"certificate": "client"}, certified=True)
    s.get(f"cert-{name}.test/", "X-Forwarded-Tls-Client-Cert: forged", "X-Forwarded-Tls-Client-Cert-Info: forged", entry="websecure", tls={}, name=f"{name}: no certificate, forged headers")
s.api("/api/http/middlewares/cert-few@docker", pick=["passTLSClientCert", "type", "status"])

s = STAGE.scenario("hosts and names")
s.rule("one", "Host(`one.parity.test`)", more="entrypoints=websecure\ntls=true")
s.rule("strong", "Host(`strong.parity.test`)", more="entrypoints=websecure\ntls.options=strong@file")
s.rule("no-options", "Host(`nooptions.parity.test`)", more="entrypoints=websecure\ntls.options=nope@file")
s.get("one.parity.test/", entry="websecure", tls={})
s.get("strong.parity.test/", entry="websecure", tls={"name": "one.parity.test"}, name="a host with other options than the name: misdirected")
s.get("one.parity.test/", entry="websecure", tls={"name": "else.parity.test"}, name="another name with the same options")
s.get("nooptions.parity.test/", entry="websecure", tls={})
s.api("/api/http/routers/no-options@docker", pick=["status", "tls", "error"])
s.curl("HTTP/2 by ALPN", "--http2", "--connect-to", "one.parity.test::127.0.0.1:<websecure>", "https://one.parity.test/h2", host="one.parity.test")
s.curl("HTTP/2 without TLS", "--http2-prior-knowledge", "--connect-to", "plain.parity.test::127.0.0.1:<web>", "http://plain.parity.test/h2c", host="plain.parity.test")
s.curl("HTTP/1.1 over TLS", "--http1.1", "--connect-to", "one.parity.test::127.0.0.1:<websecure>", "https://one.parity.test/h1", host="one.parity.test")
