"""OpenSSL's command line: certificates of the tests' own, and a TLS client that tells all."""

import subprocess


def openssl(*arguments, text="", check=True, timeout=60):
    """Runs it; gives what it said."""
    done = subprocess.run(["openssl", *map(str, arguments)], input=text, capture_output=True, text=True, errors="replace", timeout=timeout)
    if check and done.returncode:
        raise AssertionError(f"openssl {arguments[0]}: {done.stderr.strip()[-500:]}")
    return done.stdout + done.stderr


def s_client(port, name, *arguments, host="127.0.0.1"):
    """Shakes hands, asks for `/` and reads to the end, so that tickets of TLS 1.3 come too."""
    request = f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    return openssl(
        "s_client", "-connect", f"{host}:{port}", "-servername", name, "-ign_eof", *arguments, text=request, check=False
    )  # fmt: skip


def self_signed(folder, name, *names, more=()):
    """A certificate and its key for these names: the files."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", f"/CN={names[0]}",
        "-addext", "subjectAltName=" + ",".join(f"DNS:{one}" for one in names), *more, "-keyout", key, "-out", certificate,
    )  # fmt: skip
    return certificate, key


class Authority:
    """A CA of the tests' own, that also says whether its certificates are good."""

    def __init__(self, folder, name="tests CA"):
        self.folder, self.name = folder, name
        self.root, self.key = folder / "ca.pem", folder / "ca.key"
        self.lines = []
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "400", "-subj", f"/CN={name}",
            "-keyout", self.key, "-out", self.root,
        )  # fmt: skip

    def issue(self, name, *names, responder=None, days=90, more="", revoked=False):
        """A certificate with its chain, and its key: the files."""
        serial = len(self.lines) + 16
        certificate, key, request = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", *new, "-subj", f"/CN={names[0]}", "-keyout", key, "-out", request)
        about = ["subjectAltName=" + ",".join(f"DNS:{one}" for one in names), "basicConstraints=CA:FALSE"]
        about += ["keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth"]
        about += [f"authorityInfoAccess=OCSP;URI:{responder}"] if responder else []
        (self.folder / "about").write_text("\n".join([*about, more]) + "\n")
        openssl(
            "x509", "-req", "-in", request, "-CA", self.root, "-CAkey", self.key, "-set_serial", serial, "-days", days,
            "-extfile", self.folder / "about", "-out", certificate,
        )  # fmt: skip
        certificate.write_text(certificate.read_text() + self.root.read_text())
        state = "R\t360101000000Z\t260101000000Z,keyCompromise" if revoked else "V\t360101000000Z\t"
        self.lines.append(f"{state}\t{serial:02X}\tunknown\t/CN={names[0]}\n")
        return certificate, key

    def responder(self, port, signer=None):
        """The command of a responder for all that was issued so far."""
        index = self.folder / f"index-{port}.txt"
        index.write_text("".join(self.lines))
        by = signer or self
        return [
            "openssl", "ocsp", "-port", str(port), "-index", str(index), "-CA", str(self.root), "-rsigner", str(by.root),
            "-rkey", str(by.key), "-ndays", "2",
        ]  # fmt: skip
