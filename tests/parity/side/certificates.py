"""Certificates of one run, made with openssl: an authority, a server's, two clients'."""

import subprocess

from harness.proxy import fresh

SUBJECTS = {
    "authority": "/CN=Parity Authority/O=Parity",
    "server": "/CN=parity.test",
    "other": "/CN=other.test",
    "client": "/C=PT/ST=Lisboa/L=Lisbon/O=Parity, Ltd/OU=Tests/CN=client one/serialNumber=77/DC=parity",
    "stranger": "/CN=stranger",
}
NAMES = {
    "server": "DNS:parity.test,DNS:*.parity.test,IP:127.0.0.1",
    "other": "DNS:other.test",
    "client": "DNS:client.test,email:one@client.test,IP:10.1.2.3",
}


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"openssl {arguments}: {done.stderr[-500:]}"


def make():
    """A folder with NAME.crt and NAME.key of each; serial numbers and keys' kinds are fixed."""
    folder = fresh("certificates")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")

    def write(name, *more):
        files = ("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt"))
        openssl("req", "-x509", *key, *files, "-subj", SUBJECTS[name], "-days", "30", *more)

    write("authority", "-addext", "keyUsage=keyCertSign", "-set_serial", "1")
    signed = ("-CA", str(folder / "authority.crt"), "-CAkey", str(folder / "authority.key"))
    for serial, (name, usage) in enumerate((("server", "serverAuth"), ("other", "serverAuth"), ("client", "clientAuth")), 4242):
        extensions = ("basicConstraints=critical,CA:FALSE", f"extendedKeyUsage={usage}", f"subjectAltName={NAMES[name]}")
        write(name, *signed, "-set_serial", str(serial), *(word for text in extensions for word in ("-addext", text)))
    write("stranger", "-set_serial", "9", "-addext", "extendedKeyUsage=clientAuth")
    return folder
