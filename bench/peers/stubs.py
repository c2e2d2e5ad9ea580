"""Lets PyPI's PyTorch load without its GPU packages: stubs.py, in the environment's Python.

The wheel for x86-64 is linked with libraries for GPUs, several GB in packages of their own. On a
processor nothing calls them, but the loader wants the files and the symbols. This compiles a small
library for each that is missing, all of whose functions return an error, and puts them where the
wheel looks. The CUDA runtime alone, which is asked for devices at the start, is a real one."""
import collections
import glob
import os
import subprocess
import sysconfig

packages = sysconfig.get_path("purelib")
folder = os.path.join(packages, "nvidia", "cu13", "lib")
libraries = glob.glob(os.path.join(packages, "torch", "lib", "*.so*"))
SYSTEM = ("GLIBC", "CXXABI", "GCC_", "GOMP", "OMP", "GFORTRAN", "QUADMATH", "libcudart")
# The driver's symbols are in none of torch's packages and stay unresolved where no driver is.


def symbols(option):
    """The names, with versions, that nm -D lists of PyTorch's libraries."""
    names = set()
    for path in libraries:
        listed = subprocess.run(["nm", "-D", option, path], check=True, stdout=subprocess.PIPE, text=True).stdout
        names.update(line.split()[-1] for line in listed.splitlines())
    return names


def needed():
    """The files that PyTorch's libraries are linked with."""
    names = set()
    for path in libraries:
        listed = subprocess.run(["readelf", "-d", path], check=True, stdout=subprocess.PIPE, text=True).stdout
        names.update(line.split("[")[1].rstrip("]") for line in listed.splitlines() if "(NEEDED)" in line)
    return names


def compile_stub(library, versions):
    """Compiles a library of functions that return 1, by version ("" for none)."""
    base = os.path.join(folder, library)
    with open(base + ".c", "w") as f:
        for names in versions.values():
            f.writelines(f"int {name}(void) {{ return 1; }}\n" for name in sorted(names))
    with open(base + ".map", "w") as f:
        f.writelines(f"{version} {{ global: {'; '.join(sorted(names))}; }};\n" for version, names in versions.items() if version)
    script = [f"-Wl,--version-script={base}.map"] if any(versions) else []
    subprocess.run(["gcc", "-shared", "-fPIC", "-fno-builtin", "-w", f"-Wl,-soname,{library}", *script, "-o", base, base + ".c"], check=True)
    os.remove(base + ".c")
    os.remove(base + ".map")


os.makedirs(folder, exist_ok=True)
missing = sorted(n for n in needed() if n.startswith(("libcu", "libnv", "libnccl")) and not os.path.exists(os.path.join(folder, n)))
stubs = {library: collections.defaultdict(set) for library in missing if library != "libcuda.so.1"}
rest = "libcufile.so.0"  # for symbols without a version, which the loader takes from any library
for symbol in symbols("--undefined-only"):
    name, _, version = symbol.partition("@")
    version = version.lstrip("@")
    if version.startswith(SYSTEM) or not name.startswith(("cu", "nv", "nccl")):
        continue
    library = version if version in stubs else "libnvshmem_host.so.3" if version == "NVSHMEM" else rest
    if library in stubs:
        stubs[library][version].add(name)
for library, versions in stubs.items():
    compile_stub(library, versions)
