//! Where the headers that a test reads begin: behind the tags, labels and tunnels whose words stand left of it in the filter.
//!
//! As in libpcap this is a matter of the text, not of the packet: in `mpls 5 or ip` the `ip` looks behind a label. Tunnels that
//! run over UDP are the exception, for where their payload begins stands in the packet only: a test behind one rejects a packet
//! that has no such tunnel.

use std::fmt;

use crate::eval::{Frame, IP, IP6, LINK_HEADER, LINK_TYPE, Rejected, TAG};

/// The most layers of a [`Place`].
const MAX_LAYERS: usize = u8::MAX as usize;

/// The protocols of PPP that have an EtherType or a service access point of their own: the latter, the former.
const PPP: [(u16, u16); 8] = [
    (IP, 0x0021),
    (IP6, 0x0057),
    (0xfe, 0x0023),
    (0x0600, 0x0025),
    (0x6003, 0x0027),
    (0x809b, 0x0029),
    (0xe0, 0x002b),
    (0x42, 0x0031),
];

/// Headers of Geneve and VXLAN, without options.
const TUNNEL_HEADER: usize = 8;
const UDP_HEADER: usize = 8;
/// What Geneve carries is Ethernet.
const ETHERNET: u16 = 0x6558;

/// Something in front of the headers that a test reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    /// A VLAN tag.
    Vlan,
    /// An MPLS label.
    Mpls,
    /// The headers of a PPPoE session.
    Pppoes,
    /// Everything up to the payload of Geneve.
    Geneve,
    /// Everything up to the payload of VXLAN.
    Vxlan,
}

impl Layer {
    const ALL: [Self; 5] = [Self::Vlan, Self::Mpls, Self::Pppoes, Self::Geneve, Self::Vxlan];

    /// As in pcap-filter(7).
    pub fn word(self) -> &'static str {
        match self {
            Self::Vlan => "vlan",
            Self::Mpls => "mpls",
            Self::Pppoes => "pppoes",
            Self::Geneve => "geneve",
            Self::Vxlan => "vxlan",
        }
    }

    /// True where a link header of its own begins behind it, from which `ether[0]` counts.
    fn begins_link(self) -> bool {
        !matches!(self, Self::Vlan | Self::Mpls)
    }

    /// True where the packet itself states the length of the headers before its payload.
    pub fn is_tunnel(self) -> bool {
        matches!(self, Self::Geneve | Self::Vxlan)
    }
}

/// What stands before the headers that a test reads, from the outside in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Place(Vec<Layer>);

impl Place {
    /// Behind so many VLAN tags.
    pub fn behind_tags(tags: u8) -> Self {
        Self(vec![Layer::Vlan; usize::from(tags)])
    }

    /// The layers, from the outside in.
    pub fn layers(&self) -> &[Layer] {
        &self.0
    }

    /// With one layer more; none where there are 255 already.
    #[must_use]
    pub fn behind(&self, layer: Layer) -> Option<Self> {
        (self.0.len() < MAX_LAYERS).then(|| Self(self.0.iter().copied().chain([layer]).collect()))
    }

    /// The number of VLAN tags; none where there are other layers.
    pub fn tags(&self) -> Option<u8> {
        let tags = self.0.iter().all(|layer| *layer == Layer::Vlan);
        tags.then_some(self.0.len()).and_then(|n| u8::try_from(n).ok())
    }

    /// Without the tags and labels that come behind the link header: where that begins.
    pub(crate) fn link(mut self) -> Self {
        let keep = self.0.iter().rposition(|layer| layer.begins_link());
        self.0.truncate(keep.map_or(0, |at| at + 1));
        self
    }

    /// True where a link header begins that is not the frame's own.
    pub fn begins_link(&self) -> bool {
        self.0.iter().any(|layer| layer.begins_link())
    }

    /// How the frame that the test reads begins.
    pub fn framing(&self) -> Framing {
        let mut framing = Framing::Ethernet;
        for layer in &self.0 {
            framing = match layer {
                Layer::Vlan => framing,
                Layer::Mpls => Framing::Mpls,
                Layer::Pppoes => Framing::Ppp,
                Layer::Geneve | Layer::Vxlan => Framing::Ethernet,
            };
        }
        framing
    }

    /// Bytes before the network header where no packet has more, whatever the tunnels.
    pub(crate) fn most_before(&self) -> usize {
        let before = |sum: usize, layer: &Layer| {
            sum + match layer {
                Layer::Vlan | Layer::Mpls => TAG,
                Layer::Pppoes => PPPOE,
                // The longest header of IPv4 and the longest options.
                Layer::Geneve => 60 + UDP_HEADER + TUNNEL_HEADER + 252 + LINK_HEADER,
                Layer::Vxlan => 60 + UDP_HEADER + TUNNEL_HEADER + LINK_HEADER,
            }
        };
        self.0.iter().fold(LINK_HEADER, before)
    }

    /// Where the network header begins, if no packet has a say in it.
    pub fn fixed(&self) -> Option<usize> {
        let fixed = !self.0.iter().any(|layer| layer.is_tunnel());
        fixed.then(|| self.most_before())
    }

    /// Finds the headers in a packet.
    pub(crate) fn find(&self, frame: &Frame<'_>) -> Result<Headers, Rejected> {
        let mut headers = Headers {
            link: 0,
            link_type: LINK_TYPE,
            l3: LINK_HEADER,
            framing: Framing::Ethernet,
        };
        for layer in &self.0 {
            headers = headers.behind(*layer, frame)?;
        }
        Ok(headers)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut layers = Vec::new();
        for (n, part) in text.split('.').enumerate() {
            let (layer, times) = match Layer::ALL.iter().find(|layer| part.starts_with(layer.word())) {
                Some(layer) => (*layer, part.strip_prefix(layer.word())?),
                None if n == 0 => (Layer::Vlan, part),
                None => return None,
            };
            let times: u8 = match times {
                "" => 1,
                times => times.parse().ok()?,
            };
            layers.extend(std::iter::repeat_n(layer, usize::from(times)));
        }
        (layers.len() <= MAX_LAYERS).then_some(Self(layers))
    }
}

/// Layers joined by `.`, those of one kind counted, a leading number being VLAN tags: `2`, `1.mpls3`, `pppoes`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, run) in self.0.chunk_by(|a, b| a == b).enumerate() {
            let (Some(layer), times) = (run.first(), run.len()) else {
                continue;
            };
            match (n, layer, times) {
                (0, Layer::Vlan, _) => write!(f, "{times}")?,
                (0, layer, 1) => write!(f, "{}", layer.word())?,
                (0, layer, _) => write!(f, "{}{times}", layer.word())?,
                (_, layer, 1) => write!(f, ".{}", layer.word())?,
                (_, layer, _) => write!(f, ".{}{times}", layer.word())?,
            }
        }
        Ok(())
    }
}

/// The bytes that name the protocol of the network header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// An EtherType, behind MAC addresses or (in Geneve) without.
    Ethernet,
    /// The protocol number of PPP.
    Ppp,
    /// Nothing but the bottom-of-stack bit and the version of IP.
    Mpls,
}

impl Framing {
    /// The number that stands for an EtherType or a service access point.
    pub fn number_of(self, kind: u16) -> u16 {
        let ppp = || PPP.iter().find(|(ether, _)| *ether == kind).map(|(_, ppp)| *ppp);
        match self {
            Self::Ppp => ppp().unwrap_or(kind),
            Self::Ethernet | Self::Mpls => kind,
        }
    }
}

/// Bytes between the EtherType of a PPPoE session and the payload of PPP.
const PPPOE: usize = 8;

/// Where headers begin in one packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Headers {
    /// The link header; where there is none, as `l3`.
    pub(crate) link: usize,
    /// The bytes that name the protocol.
    pub(crate) link_type: usize,
    /// The network header.
    pub(crate) l3: usize,
    pub(crate) framing: Framing,
}

impl Headers {
    /// False where Geneve carries something without Ethernet addresses.
    pub(crate) fn has_link(&self) -> bool {
        self.link != self.l3
    }

    fn behind(self, layer: Layer, frame: &Frame<'_>) -> Result<Self, Rejected> {
        Ok(match layer {
            Layer::Vlan => Self {
                link_type: self.link_type + TAG,
                l3: self.l3 + TAG,
                ..self
            },
            Layer::Mpls => Self {
                l3: self.l3 + TAG,
                framing: Framing::Mpls,
                ..self
            },
            Layer::Pppoes => {
                let link = self.l3 + PPPOE - 2;
                Self {
                    link,
                    link_type: link,
                    l3: link + 2,
                    framing: Framing::Ppp,
                }
            }
            Layer::Geneve => {
                let header = self.udp(frame)? + UDP_HEADER;
                let options = usize::from(frame.u8(header)? & 0x3f) * 4;
                let link = header + TUNNEL_HEADER + options;
                if frame.u16(header + 2)? == ETHERNET {
                    Self::of_ethernet(link)
                } else {
                    Self {
                        link,
                        link_type: header + 2,
                        l3: link,
                        framing: Framing::Ethernet,
                    }
                }
            }
            Layer::Vxlan => Self::of_ethernet(self.udp(frame)? + UDP_HEADER + TUNNEL_HEADER),
        })
    }

    fn of_ethernet(link: usize) -> Self {
        Self {
            link,
            link_type: link + LINK_TYPE,
            l3: link + LINK_HEADER,
            framing: Framing::Ethernet,
        }
    }

    /// The UDP header, that of another protocol being as good.
    fn udp(&self, frame: &Frame<'_>) -> Result<usize, Rejected> {
        match self.network(frame)? {
            Network::Ip => Ok(self.l3 + frame.ip4_header_len(self.l3)? as usize),
            Network::Ip6 => Ok(self.l3 + 40),
            _ => Err(Rejected),
        }
    }

    /// The protocol of the network header.
    pub(crate) fn network(&self, frame: &Frame<'_>) -> Result<Network, Rejected> {
        if self.framing == Framing::Mpls {
            let bottom = frame.u8(self.l3 - 2)? & 1 != 0;
            return Ok(match bottom.then(|| frame.u8(self.l3)).transpose()? {
                Some(0x40..=0x4f) => Network::Ip,
                Some(0x60..=0x6f) => Network::Ip6,
                _ => Network::Other,
            });
        }
        let number = frame.u16(self.link_type)?;
        let of = |kind| self.framing.number_of(kind) == number;
        Ok(match () {
            () if of(IP) => Network::Ip,
            () if of(IP6) => Network::Ip6,
            () if number == 0x0806 => Network::Arp,
            () if number == 0x8035 => Network::Rarp,
            () => Network::Other,
        })
    }
}

/// The network protocols that tests look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    Ip,
    Ip6,
    Arp,
    Rarp,
    Other,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn text_is_read_back() {
        use Layer::{Geneve, Mpls, Pppoes, Vlan, Vxlan};
        for (layers, text) in [
            (vec![Vlan, Vlan], "2"),
            (vec![Mpls], "mpls"),
            (vec![Vlan, Mpls, Mpls, Mpls], "1.mpls3"),
            (vec![Pppoes, Geneve, Vlan, Vxlan], "pppoes.geneve.vlan.vxlan"),
            (vec![Mpls, Mpls, Pppoes], "mpls2.pppoes"),
        ] {
            let place = Place(layers);
            assert_eq!(place.to_string(), text);
            assert_eq!(Place::parse(text), Some(place));
        }
        for text in ["x", "1.2", "mpls256", "255.vlan", "pppoes-1", "."] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_link_header_has_its_own_place() {
        let place = Place::parse("1.pppoes.mpls2").unwrap();
        assert_eq!(place.link().to_string(), "1.pppoes");
        assert_eq!(Place::parse("2").unwrap().link(), Place::default());
    }
}
