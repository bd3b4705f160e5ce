# One image for every part of DMQ: the first argument is `controller`, `broker`, `dev` or any other
# command of the tool `dmq`.
#
#   docker build -t dmq .                        the programs
#   docker build -t dmq:python --target python . the same, and Python with the package dmq
#
# docs/containers.md says how to use them. DEBIAN_RELEASE may be bookworm or trixie.
ARG DEBIAN_RELEASE=bookworm

# ---- the programs are built --------------------------------------------------------------------
# What comes before the sources is made once.
FROM debian:${DEBIAN_RELEASE}-slim AS tools
# msgpack-c is called otherwise from Debian 13 on.
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        $(apt-cache show libmsgpack-c-dev >/dev/null 2>&1 && echo libmsgpack-c-dev || echo libmsgpack-dev) \
        gcc g++ libc6-dev cmake ninja-build pkg-config python3-minimal uthash-dev libzmq3-dev \
        libczmq-dev libleveldb-dev libjansson-dev liblz4-dev libzstd-dev libmicrohttpd-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src

FROM tools AS build
COPY CMakeLists.txt LICENSE ./
COPY cmake cmake
COPY libdmq libdmq
COPY controller controller
COPY broker broker
RUN cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF \
        -DCMAKE_INSTALL_PREFIX=/usr/local -DCMAKE_INSTALL_LIBDIR=lib \
    && cmake --build build \
    && cmake --install build --strip
# The packages of this release that hold the libraries which the programs were linked with.
RUN objdump -p /usr/local/bin/dmq* /usr/local/lib/libdmq.so \
        | awk '$1 == "NEEDED" && $2 !~ /^libdmq/ { print "*/" $2 }' | sort -u \
        | xargs dpkg -S | sed -n '/^diversion/!s/:.*//p' | sort -u \
        | grep -vx libc6 > /src/packages

# ---- what runs ---------------------------------------------------------------------------------
FROM debian:${DEBIAN_RELEASE}-slim AS dmq
COPY --from=build /src/packages /usr/local/share/dmq/packages
RUN apt-get update \
    && apt-get install -y --no-install-recommends $(cat /usr/local/share/dmq/packages) \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/ldconfig \
    && install -d -o 10001 -g 10001 /var/lib/dmq
COPY --from=build /usr/local/bin/dmq /usr/local/bin/dmq-broker /usr/local/bin/dmq-controller \
    /usr/local/bin/
COPY --from=build /usr/local/lib/libdmq.so.* /usr/local/lib/
COPY LICENSE /usr/local/share/dmq/
LABEL org.opencontainers.image.title="dmq" \
    org.opencontainers.image.description="DMQ: a durable, replicated log" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.licenses="Apache-2.0"
ENV DMQ_SERVICES=/etc/dmq/services.json
USER 10001:10001
WORKDIR /var/lib/dmq
VOLUME /var/lib/dmq
EXPOSE 9501
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=10s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/dmq", "health", "--ready"]
ENTRYPOINT ["/usr/local/bin/dmq"]
CMD ["--help"]

# ---- Python ------------------------------------------------------------------------------------
FROM tools AS python-build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-dev python3-pip python3-cffi \
    && rm -rf /var/lib/apt/lists/*
# From PyPI, for Debian 12 has an older one; used here only.
RUN python3 -m pip install --no-cache-dir --target /build-tools 'setuptools>=77'
COPY --from=build /usr/local /usr/local
COPY bindings/python bindings/python
RUN PYTHONPATH=/build-tools DMQ_PREFIX=/usr/local python3 -m pip install --no-deps --no-build-isolation --no-index \
        --break-system-packages --root /out ./bindings/python

FROM dmq AS python
USER root
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-cffi-backend \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
COPY --from=python-build /out/usr/local /usr/local
COPY bindings/python/examples /usr/local/share/dmq/examples
USER 10001:10001
ENV PYTHONUNBUFFERED=1
HEALTHCHECK NONE
ENTRYPOINT []
CMD ["python3"]

# The last is what `docker build` without --target makes: the programs.
FROM dmq
