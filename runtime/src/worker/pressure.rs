//! Backpressure: packets that could not pass an NF further down their chain are turned away as they come in, before work is spent
//! on them, as NFVnice does (S. Kulkarni et al., "NFVnice: Dynamic Backpressure and Scheduling for NFV Service Chains", 2017).
//!
//! An instance is under pressure from when it holds three quarters of what it may hold until it holds half of that; a service when
//! all of its instances are. Packets from live ports whose chain leads to such a service behind its first hop are turned away;
//! those of other chains are not. At a first hop nothing has been done for a packet yet: there the ring itself turns it away, and
//! its other instances still take theirs.

use super::forward::Forward;

#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// By slot of an instance.
    instances: Vec<bool>,
    /// Some of these are under pressure.
    pressed: bool,
    /// By slot of a service.
    services: Vec<bool>,
    any: bool,
}

/// What an instance holds that comes under pressure, of so many packets that its ring holds.
pub(super) fn high(capacity: u32) -> u32 {
    capacity - capacity / 4
}

impl Pressure {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            instances: vec![false; slots],
            pressed: false,
            services: vec![false; slots],
            any: false,
        }
    }

    /// Some service is under pressure.
    #[inline(always)]
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// One of these services is.
    #[inline(always)]
    pub(super) fn at(&self, services: &[u16]) -> bool {
        services.iter().any(|&service| {
            self.services
                .get(usize::from(service))
                .is_some_and(|under| *under)
        })
    }
}

/// Whether an instance that holds so much stays under pressure. `room` is what it may be given besides.
fn stays(held: u32, room: u32) -> bool {
    held > room
}

impl Forward {
    /// The instance has come under pressure, or had no room.
    #[cold]
    pub(super) fn is_pressed(&mut self, slot: u16) {
        if let Some(under) = self.pressure.instances.get_mut(usize::from(slot))
            && !std::mem::replace(under, true)
        {
            self.pressure.pressed = true;
            self.settle_pressure();
        }
    }

    /// Looks whether instances have come down.
    pub(super) fn ease(&mut self) {
        if !std::mem::take(&mut self.pressure.pressed) {
            return;
        }
        let mut changed = false;
        for slot in 0..self.pressure.instances.len() {
            if !self.pressure.instances[slot] {
                continue;
            }
            let stays = self.links[slot].as_ref().is_some_and(|link| {
                let (held, capacity) = (link.held(), link.capacity() as u32);
                let room = self.shares.room(held).min(capacity.saturating_sub(held));
                !link.faulty && stays(held, room)
            });
            self.pressure.pressed |= stays;
            if !stays {
                self.pressure.instances[slot] = false;
                changed = true;
            }
        }
        if changed {
            self.settle_pressure();
        }
    }

    /// Works out which services are under pressure; also where their instances have changed.
    pub(super) fn settle_pressure(&mut self) {
        let instances = &self.pressure.instances;
        let under = |slot: &u16| instances.get(usize::from(*slot)).is_some_and(|under| *under);
        let mut any = false;
        for (service, selection) in self.pressure.services.iter_mut().zip(&self.services) {
            let chosen = selection.chosen();
            *service = !chosen.is_empty() && chosen.iter().all(under);
            any |= *service;
        }
        self.pressure.any = any;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_comes_at_three_quarters_and_goes_at_half() {
        let capacity = 1024;
        let at = |held: u32| (held >= high(capacity), stays(held, capacity - held));
        assert_eq!([at(0), at(512)], [(false, false); 2]);
        assert_eq!([at(513), at(767)], [(false, true); 2]);
        assert_eq!([at(768), at(1024)], [(true, true); 2]);
    }
}
