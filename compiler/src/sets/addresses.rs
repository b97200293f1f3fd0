//! Tests of addresses and ports: those that look at both ends of a packet.

use ipnet::IpNet;
use onvm_bundle::filter::{Direction, Test, Transport, Within};

use super::{
    cube::Cube,
    ends::{Ends, Members},
    field::{Bytes, Field},
    lower::TooComplex,
    primitive::{IP, IP6, Tests},
    values::{Range, Values},
    words::Words,
};

const ARP: u128 = 0x0806;
const RARP: u128 = 0x8035;

impl Tests<'_> {
    pub(super) fn net(
        &mut self,
        test: &Test,
        within: Within,
        dir: Direction,
        nets: &[IpNet],
        wanted: bool,
    ) -> Result<Vec<Cube>, TooComplex> {
        let (v4, v6) = ranges(nets);
        let words = Words::new(&v6);
        let (v4, v6) = (Members::new(v4), Members::new(v6));
        let groups: &[(&[Range], u16, u16)] = match within {
            Within::Any => &[(&[(IP, IP)], 12, 16), (&[(ARP, ARP), (RARP, RARP)], 14, 24)],
            Within::Ip => &[(&[(IP, IP)], 12, 16)],
            Within::Arp => &[(&[(ARP, ARP)], 14, 24)],
            Within::Rarp => &[(&[(RARP, RARP)], 14, 24)],
        };
        let mut types = Vec::new();
        let mut cubes = Vec::new();
        for (group, src, dst) in groups {
            let (Some(members), Some(group)) = (&v4, Values::new(group.to_vec())) else {
                continue;
            };
            types.extend(group.ranges());
            if !group.ranges().any(|(kind, _)| self.any_of_type(kind)) {
                continue;
            }
            let base = self.of_type(group);
            let ends = self.addresses(*src, *dst, 4);
            cubes.extend(ends.cubes(self, &base, dir, members, wanted)?);
        }
        if let (Within::Any, Some(members)) = (within, &v6) {
            types.push((IP6, IP6));
            if self.any_of_type(IP6) {
                let base = self.of_type(Values::one(IP6));
                let ends = self.addresses(8, 24, 16);
                cubes.extend(ends.cubes(self, &base, dir, members, wanted)?);
                cubes.extend(words.cubes(self, test, &base, dir, (&ends, members), wanted)?);
            }
        }
        match Values::new(types) {
            Some(types) if !wanted => cubes.extend(self.link(types, false)),
            None if !wanted => {
                let any = self.captured(Cube::default(), self.l3);
                cubes.push(any);
            }
            _ => {}
        }
        Ok(cubes)
    }

    fn addresses(&mut self, src: u16, dst: u16, size: u8) -> Ends {
        let (src, dst) = (self.at(src), self.at(dst));
        let end = |at: u16| u128::from(at) + u128::from(size);
        Ends {
            src: self.bytes(Bytes::new(src, size)),
            dst: self.bytes(Bytes::new(dst, size)),
            captured: self.fields.id(Field::Captured),
            src_end: end(src),
            dst_end: end(dst),
        }
    }

    pub(super) fn port(
        &mut self,
        transport: Transport,
        dir: Direction,
        ranges: &[Range],
        wanted: bool,
    ) -> Result<Vec<Cube>, TooComplex> {
        let numbers: &[Range] = match transport {
            Transport::Any => &[(6, 6), (17, 17), (132, 132)],
            Transport::Tcp => &[(6, 6)],
            Transport::Udp => &[(17, 17)],
            Transport::Sctp => &[(132, 132)],
        };
        let with_ports = Values::new(numbers.to_vec());
        let Some(members) = Members::new(ranges.to_vec()) else {
            return Ok(Vec::new());
        };
        let mut cubes = Vec::new();

        if self.any_of_type(IP) {
            self.port_in_ip4(&with_ports, dir, &members, wanted, &mut cubes)?;
        }
        if self.any_of_type(IP6) {
            let ip6 = self.of_type(Values::one(IP6));
            let ip6 = self.captured(ip6, self.at(7));
            let next = self.bytes(Bytes::new(self.at(6), 1));
            let ends = self.addresses(40, 42, 2);
            for cube in self.split(ip6.clone(), next, with_ports.clone(), true) {
                cubes.extend(ends.cubes(self, &cube, dir, &members, wanted)?);
            }
            if !wanted {
                cubes.extend(self.split(ip6, next, with_ports, false));
            }
        }
        if let Some(types) = Values::new(vec![(IP, IP), (IP6, IP6)]).filter(|_| !wanted) {
            cubes.extend(self.link(types, false));
        }
        Ok(cubes)
    }

    fn port_in_ip4(
        &mut self,
        with_ports: &Option<Values>,
        dir: Direction,
        members: &Members,
        wanted: bool,
        cubes: &mut Vec<Cube>,
    ) -> Result<(), TooComplex> {
        let ip = self.of_type(Values::one(IP));
        let ip = self.captured(ip, self.at(10));
        let proto = self.bytes(Bytes::new(self.at(9), 1));
        let fragment = self.fragment_offset();
        let ends = self.ports_behind_ip4();
        for carrier in self.split(ip.clone(), proto, with_ports.clone(), true) {
            for first in self.split(carrier.clone(), fragment, Some(Values::one(0)), true) {
                cubes.extend(ends.cubes(self, &first, dir, members, wanted)?);
            }
            if !wanted {
                cubes.extend(self.split(carrier, fragment, Some(Values::one(0)), false));
            }
        }
        if !wanted {
            cubes.extend(self.split(ip, proto, with_ports.clone(), false));
        }
        Ok(())
    }

    fn ports_behind_ip4(&mut self) -> Ends {
        let l3 = self.l3;
        let mut field = |at| {
            self.fields.id(Field::BehindIp4 {
                l3,
                bytes: Bytes::new(at, 2),
            })
        };
        let (src, dst) = (field(0), field(2));
        let captured = self.fields.id(Field::CapturedBehindIp4(l3));
        Ends {
            src,
            dst,
            captured,
            src_end: 2,
            dst_end: 4,
        }
    }
}

fn ranges(nets: &[IpNet]) -> (Vec<Range>, Vec<Range>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for net in nets {
        match net {
            IpNet::V4(net) => v4.push((
                u128::from(net.network().to_bits()),
                u128::from(net.broadcast().to_bits()),
            )),
            IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
        }
    }
    (v4, v6)
}
