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
