//! Servers transports as declared to their settings at run time.

use super::Context;
use crate::model::ServersTransport;
use crate::settings::SpiffePeers;
use crate::upstream::{SpiffeTransport, TransportSettings};

/// The transport of the static configuration.
pub(super) fn default(cx: &Context) -> TransportSettings {
    let transport = &cx.settings.servers_transport;
    let timeouts = &transport.forwarding_timeouts;
    TransportSettings {
        insecure_skip_verify: transport.insecure_skip_verify,
        root_cas: transport.root_cas.clone(),
        system_roots: false,
        max_idle_per_server: transport.max_idle_conns_per_host,
        workers: cx.workers,
        dial_timeout: timeouts.dial_timeout.positive(),
        response_header_timeout: timeouts.response_header_timeout.positive(),
        idle_timeout: timeouts.idle_conn_timeout.positive(),
        spiffe: transport.spiffe.as_ref().map(|peers| spiffe(cx, peers)),
        ..TransportSettings::default()
    }
}

/// A named transport.
pub(super) fn named(cx: &Context, transport: &ServersTransport) -> TransportSettings {
    let timeouts = &transport.forwarding_timeouts;
    let certificates = transport.certificates.iter();
    TransportSettings {
        server_name: transport.server_name.clone(),
        insecure_skip_verify: transport.insecure_skip_verify,
        root_cas: transport.root_cas.clone(),
        system_roots: false,
        certificates: certificates.map(|c| (c.cert_file.clone(), c.key_file.to_string())).collect(),
        peer_cert_uri: transport.peer_cert_uri.clone(),
        cipher_suites: transport.cipher_suites.clone(),
        min_version: transport.min_version.clone(),
        max_version: transport.max_version.clone(),
        disable_http2: transport.disable_http2,
        max_idle_per_server: transport.max_idle_conns_per_host,
        workers: cx.workers,
        dial_timeout: timeouts.dial_timeout.positive(),
        response_header_timeout: timeouts.response_header_timeout.positive(),
        idle_timeout: timeouts.idle_conn_timeout.positive(),
        read_idle_timeout: timeouts.read_idle_timeout.positive(),
        ping_timeout: timeouts.ping_timeout.or_zero(),
        spiffe: transport.spiffe.as_ref().map(|peers| spiffe(cx, peers)),
    }
}

fn spiffe(cx: &Context, peers: &SpiffePeers) -> SpiffeTransport {
    let SpiffePeers { ids, trust_domain } = peers.clone();
    SpiffeTransport { source: cx.spiffe.clone(), ids, trust_domain }
}
