# syntax=docker/dockerfile:1
# The images of the chart: `docker build --target operator .` and `docker build --target agent .`
#
# Each is one static program and no shell, no package, no library. Linked with glibc, because the agent
# tells its allocator to give memory back.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# For the machine that builds: `docker buildx build --platform` runs this once for each.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target,sharing=locked \
    set -eu; \
    host="$(rustc -vV | sed -n 's/^host: //p')"; \
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --release --target "$host" \
        -p vipkeeper-operator -p vipkeeper-agent; \
    mkdir /out; \
    for program in vipkeeper-operator vipkeeper-agent; do \
        install -m 755 "target/$host/release/$program" /out/; \
        if readelf -d "/out/$program" | grep NEEDED; then echo "$program is not static" >&2; exit 1; fi; \
        "/out/$program" --version; \
    done

FROM scratch AS operator
COPY --from=build /out/vipkeeper-operator /usr/local/bin/vipkeeper-operator
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/vipkeeper-operator"]

FROM scratch AS agent
COPY --from=build /out/vipkeeper-agent /usr/local/bin/vipkeeper-agent
# Whom probes over TLS believe that name no authorities of their own.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER 0:0
ENTRYPOINT ["/usr/local/bin/vipkeeper-agent"]
