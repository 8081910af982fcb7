# The image, for those who have a container engine; `make image` makes its like without one.
#   docker build --build-arg REVISION="$(git rev-parse HEAD)" --tag vso-prober:dev .
# The bases stand here by tag. To have them by digest, which Dependabot then keeps up to date, write `@sha256:…` behind both:
#   docker buildx imagetools inspect --format '{{.Manifest.Digest}}' rust:1.95-bookworm
# The release's provenance names the digests that an image was really built from.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin vso-prober && cp target/release/vso-prober /vso-prober

# glibc, libgcc and CA certificates, and no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="vso-prober" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="https://github.com/vso-prober/vso-prober" \
      org.opencontainers.image.licenses="Apache-2.0"
# glibc: one arena, and large pieces given back at once. Who reads logs fast has twice the memory that it needs otherwise.
ENV MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=131072 MALLOC_TRIM_THRESHOLD_=131072
COPY --from=build /vso-prober /usr/bin/vso-prober
USER 65532:65532
ENTRYPOINT ["/usr/bin/vso-prober"]
