//! Where calls may go that people asked for: they must not lead Berth to what only Berth can reach.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// An address, or all that begin like it: `10.0.0.0/8`, `127.0.0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// What is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network; write 10.0.0.0/8, fd00::/8, or an address")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NetworkError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let same = |one: u128, other: u128, width: u32| {
            let rest = width - u32::from(self.bits);
            one.checked_shr(rest).unwrap_or(0) == other.checked_shr(rest).unwrap_or(0)
        };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

/// The hosts that a site lets people have called, and the networks among those that are not public.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Names of hosts; `*.example.org` stands for all below that, `*` for all there are.
    pub hosts: Vec<String>,
    /// Networks that may be reached although they are not public.
    pub networks: Vec<Network>,
}

impl Reach {
    /// Whether a host may be named.
    #[must_use]
    pub fn allows_host(&self, host: &str) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.hosts.iter().any(|allowed| allowed == host)
                || self.networks.iter().any(|network| network.has(plain(address)));
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.hosts.iter().map(|allowed| allowed.to_ascii_lowercase()).any(|allowed| {
            match allowed.strip_prefix('*') {
                Some("") => true,
                Some(end) => end.starts_with('.') && host.len() > end.len() && host.ends_with(end),
                None => host == allowed,
            }
        })
    }

    /// Whether a host's address may be called: its name does not tell where it leads.
    #[must_use]
    pub fn allows_address(&self, address: IpAddr) -> bool {
        is_public(address) || self.networks.iter().any(|network| network.has(plain(address)))
    }
}

/// An IPv4 address that is written as an IPv6 one, as what it is.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// Whether an address is one of the whole Internet: neither this machine, nor this site, nor anything special.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_documentation();
    let special = special
        || match address.octets() {
            // This network, shared ones, assigned ones, benchmarks, and what is reserved.
            [0, ..] | [192, 0, 0, _] | [240..=255, ..] => true,
            [100, second, ..] => (64..128).contains(&second),
            [198, 18..=19, ..] => true,
            _ => false,
        };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, _, _, _, g, h] = address.segments();
    let inner = |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match (a, b) {
        // Ways to IPv4: NAT64, 6to4.
        (0x64, 0xff9b) => is_public_v4(inner(g, h)),
        (0x2002, _) => is_public_v4(inner(b, c)),
        // Teredo, and documentation.
        (0x2001, 0 | 0xdb8) => false,
        // What the Internet is made of.
        _ => (0x2000..=0x3fff).contains(&a),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_near_is_not_public() {
        for near in [
            "127.0.0.1",
            "127.8.9.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "::7f00:1",
            "fec0::1",
        ] {
            assert!(!is_public(ip(near)), "{near}");
        }
        for far in
            ["1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
        {
            assert!(is_public(ip(far)), "{far}");
        }
    }

    #[test]
    fn a_host_is_allowed_by_its_name_or_by_what_it_is_below() {
        let hosts = vec!["Hooks.example.org".to_owned(), "*.chat.test".to_owned()];
        let reach = Reach { hosts, networks: vec![] };
        for good in ["hooks.example.org", "HOOKS.example.org.", "a.chat.test", "a.b.chat.test"] {
            assert!(reach.allows_host(good), "{good}");
        }
        for bad in [
            "example.org",
            "xhooks.example.org",
            "chat.test",
            ".chat.test",
            "achat.test",
            "chat.test.evil",
            "1.1.1.1",
        ] {
            assert!(!reach.allows_host(bad), "{bad}");
        }
        assert!(Reach { hosts: vec!["*".into()], networks: vec![] }.allows_host("any.where"));
    }

    #[test]
    fn an_address_that_is_near_has_to_be_in_a_network_of_the_list() {
        let networks = vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        let reach = Reach { hosts: vec!["*".into()], networks };
        assert!(reach.allows_address(ip("10.200.3.4")) && reach.allows_address(ip("::ffff:10.0.0.1")));
        assert!(reach.allows_address(ip("::1")) && reach.allows_address(ip("9.9.9.9")));
        assert!(!reach.allows_address(ip("127.0.0.1")));
        assert!(!reach.allows_address(ip("169.254.169.254")) && !reach.allows_address(ip("fe80::1")));
        assert!(reach.allows_host("10.0.0.1") && !reach.allows_host("127.0.0.1"));
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.has(ip("127.0.0.1")) && !all.has(ip("::1")));
        for bad in ["", "10.0.0.0/33", "a/8", "10.0.0.0/", "::/129", "10.0.0/8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_network_has_what_begins_like_it(own: u32, other: u32, bits in 0..=32_u8) {
            let network = Network { address: IpAddr::V4(own.into()), bits };
            let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
            prop_assert_eq!(network.has(IpAddr::V4(other.into())), own & mask == other & mask);
        }

        #[test]
        fn an_ipv4_address_is_as_public_however_it_is_written(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(is_public(IpAddr::V6(v4.to_ipv6_mapped())), is_public(IpAddr::V4(v4)));
        }
    }
}
