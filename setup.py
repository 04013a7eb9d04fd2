"""What the package is made of; build requirements and the settings of the tools are in pyproject.toml."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
README = ROOT / "README.md"


class BuildWithProto(build_py):
    """Adds the modules generated from proto/ to the package."""

    def run(self) -> None:
        """Copy the package, then write fresh modules over any that were generated in the source tree.

        Those in the tree may come from a newer protoc, and would then refuse the oldest protobuf admitted below.
        """
        super().run()
        generator = runpy.run_path(str(ROOT / "proto" / "generate.py"))
        if self.editable_mode:
            generator["generate_in_place"](force=True)
        else:
            generator["generate"](Path(self.build_lib))


setup(
    name="mindspore_serving",
    version=runpy.run_path(str(ROOT / "mindspore_serving" / "__init__.py"))["__version__"],
    description="Serve MindSpore models over gRPC and REST",
    long_description=README.read_text(encoding="utf-8") if README.is_file() else "",
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Framework :: AsyncIO",
        "Intended Audience :: Developers",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10,<3.13",
    packages=find_packages(include=["mindspore_serving", "mindspore_serving.*"]),
    package_data={
        "mindspore_serving": ["py.typed"],
        "mindspore_serving.lite": ["shim.cc"],
        "mindspore_serving.server.console.page": ["browser/*"],
    },
    cmdclass={"build_py": BuildWithProto},
    entry_points={"console_scripts": ["mindspore-serving = mindspore_serving.cli.app:main"]},
    install_requires=[
        # The oldest whose parser can be told to stop behind each request. Not newer than what the tests ran with:
        # connections override what aiohttp does not document (docs/adr/0041-rest-on-aiohttp.md).
        "aiohttp>=3.14.1,<3.15",
        # `./build.sh check` tests both ends: the gRPC server calls what grpcio does not document. With a newer grpcio
        # that has changed there, it would serve through grpc.aio: with more CPU time for each request, and only a line
        # in the log says so. With an older one, grpc.aio keeps calls without a message until garbage is collected.
        # Generated stubs refuse what is older than the grpcio-tools of pyproject.toml.
        "grpcio>=1.81.0,<1.86",
        "multidict>=6,<8",
        "multipart>=1.2.1,<3",
        "numpy>=1.26",
        "orjson>=3.10",
        "prometheus-client>=0.23.1",
        "pybase64>=1.4",
        # Generated messages load with the protobuf they were generated for, and up to the end of the next major.
        "protobuf>=6.31.1,<8",
        "psutil>=5.9",
        "pyyaml>=6",
        "rich>=13.9",
        "setproctitle>=1.3.3",
        "typer>=0.20",
        "uvloop>=0.21",
    ],
    extras_require={
        # MindSpore is compiled for the C interface of NumPy 1; cryptography is for its encrypted models.
        "mindspore": ["cryptography>=42", "mindspore>=2.10.0,<2.11", "numpy<2"],
        # The page that shows /openapi.json; its files are served from where it is installed.
        "docs-page": ["swagger-ui-bundle>=1.1"],
        "onnx": ["onnxruntime>=1.31,<1.33"],
        "paddle": ["paddlepaddle>=3.3,<3.4"],
        # The oldest that admits protobuf 7, which MindSpore requires; spans are made by a constructor of the SDK.
        "tracing": [
            "opentelemetry-exporter-otlp-proto-grpc>=1.44,<2",
            "opentelemetry-exporter-otlp-proto-http>=1.44,<2",
            "opentelemetry-sdk>=1.44,<2",
        ],
        # `mindspore-serving serve --dev` watches files with it.
        "reload": ["watchfiles>=1"],
        "test": [
            "cryptography>=42",
            # With tritonclient: its extra `http` requires this, and its extra `grpc` grpcio and a protobuf below 7, but
            # MindSpore requires protobuf 7. It runs on both: `./build.sh check` tests it with the older one.
            "geventhttpclient>=2.3.3",
            "httptools>=0.6.4,<1",
            "hypothesis>=6.100",
            "jsonschema>=4.20",
            # Tests make models with it; nothing else needs it.
            "onnx>=1.19",
            "openapi-spec-validator>=0.7",
            "pillow>=10",
            # It drives an installed Chromium; it brings and downloads none here.
            "playwright>=1.49",
            "pytest>=8.4",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "requests>=2.31",
            "schemathesis>=4.1",
            "scikit-learn>=1.4",
            "swagger-ui-bundle>=1.1",
            "tqdm>=4.66",
            "tritonclient==2.73.0",
        ],
        # Not in the environment of ./build.sh setup: it has packages for some versions of Python on x86-64 only.
        "fuzz": ["atheris>=2.3"],
        "bench": ["matplotlib>=3.9"],
        # Linters and stubs are pinned: a new release of one must not fail the check of an unchanged tree.
        "dev": [
            "build>=1.2",
            "grpcio-tools>=1.74.0",
            "mypy==2.4.1",
            "pip-audit==2.10.1",
            "pre-commit>=4",
            "ruff==0.17.5",
            "types-grpcio==1.85.0.20261028",
            "types-protobuf==7.35.1.20260906",
            "types-PyYAML==6.0.12.20261122",
            "types-psutil==7.2.2.20261111",
        ],
        # Pinned for the same reason: the site is built without warnings.
        "docs": [
            "mkdocs==1.6.1",
            "mkdocs-material==9.7.7",
            "mkdocstrings==1.0.6",
            "pymdown-extensions==10.21.3",
            "mkdocstrings-python==2.0.9",
        ],
    },
)
