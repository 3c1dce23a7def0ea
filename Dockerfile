# The program alone, for a container; docs/operations.md says how it is run.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
RUN make release

FROM debian:bookworm-slim
# What receivers trust, and ACME.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/target/profiled/anp-proxy /usr/local/bin/
RUN useradd --system --uid 10001 anp-proxy && install -d -o anp-proxy -m 700 /var/lib/anp-proxy
USER anp-proxy
ENV STATE_DIRECTORY=/var/lib/anp-proxy
VOLUME /var/lib/anp-proxy
ENTRYPOINT ["anp-proxy"]
CMD ["gateway"]
