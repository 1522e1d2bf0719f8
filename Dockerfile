# Builds Wharf's image: one static binary and nothing else.
#
#   docker build -t wharf .
#
# It runs as root by default, since the engine's socket usually belongs to root. Without
# root: --user 65532:$(stat -c %g /var/run/docker.sock). Ports below 1024 are open to every
# user inside a container since Docker 20.10.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The target is named so that +crt-static is for the binary and not for build scripts.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
 && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target" \
 && cp "target/$target/release/wharf" /wharf

# The last stage needs only /wharf: the tests build it around a binary of their own.
FROM scratch
COPY --from=build /wharf /wharf
ENTRYPOINT ["/wharf"]
