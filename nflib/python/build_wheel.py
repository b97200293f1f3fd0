#!/usr/bin/python3
"""Makes the wheel: `build_wheel.py LIBRARY TO VERSION`. The package and the C library in it, by the standard library alone, the
same bytes each time; `pip install` takes it."""

import base64
import hashlib
import os
import platform
import sys
import zipfile

METADATA = """Metadata-Version: 2.1
Name: onvm-nf
Version: {version}
Summary: Network functions for onvm in Python, for prototypes
License: Apache-2.0 OR MIT
Requires-Python: >=3.9
"""
WHEEL = """Wheel-Version: 1.0
Generator: onvm
Root-Is-Purelib: false
Tag: py3-none-{platform}
"""


def files(library, version, tag):
    package = os.path.join(os.path.dirname(os.path.abspath(__file__)), "onvm_nf")
    for name in sorted(os.listdir(package)):
        if name.endswith(".py"):
            with open(os.path.join(package, name), "rb") as file:
                yield f"onvm_nf/{name}", file.read()
    with open(library, "rb") as file:
        yield "onvm_nf/libonvm_nf.so", file.read()
    info = f"onvm_nf-{version}.dist-info"
    yield f"{info}/METADATA", METADATA.format(version=version).encode()
    yield f"{info}/WHEEL", WHEEL.format(platform=tag).encode()


def main(library, to, version):
    tag = f"linux_{platform.machine()}"
    path = os.path.join(to, f"onvm_nf-{version}-py3-none-{tag}.whl")
    record = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:

        def add(name, content):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100755 if name.endswith(".so") else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, content)

        for name, content in files(library, version, tag):
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(content)}")
            add(name, content)
        name = f"onvm_nf-{version}.dist-info/RECORD"
        add(name, ("\n".join([*record, f"{name},,"]) + "\n").encode())
    print(path)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} LIBRARY TO VERSION")
    main(*sys.argv[1:])
