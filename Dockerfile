# syntax=docker/dockerfile:1
# The same image as `make image`, for who has Docker: `docker build -t parley.dev/parley:0.1.0 .`
# Layers that change rarely come first: npm packages, crates, then our own sources.

FROM node:22-bookworm-slim AS web
WORKDIR /parley/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web/ ./
RUN npm run --silent build

FROM rust:1.95.0-bookworm AS build
WORKDIR /parley
# Static, OpenSSL too (the base image brings libssl-dev). With --target the flags reach
# the product only, not build scripts. C sources that ask when they are compiled are told the same time always.
ENV OPENSSL_STATIC=1 \
    SOURCE_DATE_EPOCH=0 \
    RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/usr/local/cargo=/cargo"
# Without rust-toolchain.toml: the base image is that version, and it names tools that no build needs.
COPY Cargo.toml Cargo.lock ./
# The manifest alone: cargo reads those of all members.
COPY fuzz/Cargo.toml fuzz/
# All crates, built for programs that do nothing: this layer lives as long as Cargo.lock.
RUN mkdir -p src/bin \
    && echo 'fn main() {}' >src/bin/gateway.rs \
    && touch src/lib.rs \
    && cargo build --locked --release --target "$(uname -m)-unknown-linux-gnu" --bins \
    && rm -r src
COPY build.rs ./
COPY migrations/ migrations/
COPY src/ src/
COPY --from=web /parley/web/dist/ web/dist/
# Which sources these are, for the log's first line: --build-arg COMMIT=$(git describe --always --abbrev=12 --dirty)
ARG COMMIT
# Copied files keep their dates, which may be older than the programs that do nothing.
RUN find src -name '*.rs' -exec touch {} + \
    && if [ -n "$COMMIT" ]; then export PARLEY_COMMIT="$COMMIT"; fi \
    && cargo build --locked --release --target "$(uname -m)-unknown-linux-gnu" --bin parley \
    && install -D -m 755 -t /image/bin "target/$(uname -m)-unknown-linux-gnu/release/parley" \
    && for name in controller worker gateway; do ln -s parley "/image/bin/$name"; done \
    && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
    && echo 'parley:x:65532:65532:parley:/:/sbin/nologin' >/image/etc/passwd

FROM scratch
LABEL org.opencontainers.image.title="parley" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="A chat platform for Kubernetes"
COPY --from=build /image/ /
USER 65532:65532
