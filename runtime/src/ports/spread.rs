//! Cards that spread flows over several queues: all must do it alike, or the two directions of a flow meet different workers.

use onvm_bundle::Workers;

use super::OpenPort;
use crate::{dpdk::Rss, error::RunError};

/// Has all cards hash the same kinds of packets, and reports what each does. Where receivers choose the worker, or there is one
/// alone, the cards may do as they like; otherwise those that send the two directions of a flow to different queues are refused.
pub(crate) fn agree(ports: &mut [OpenPort], workers: &Workers) -> Result<(), RunError> {
    let matters = workers.receivers == 0 && workers.count > 1;
    let common = common(ports.iter().filter_map(OpenPort::rss));
    for port in ports {
        let name = port.name.clone();
        let Some(device) = port.spreading() else {
            continue;
        };
        if matters && device.rss().is_some_and(|rss| rss.kinds != common) && common != 0 {
            // Where that is refused, it is seen below.
            let _ = device.restrict_rss(common);
        }
        let Some(rss) = device.rss() else {
            tracing::warn!(
                port = name,
                "the card has no RSS, or its driver does not say how it is set: all packets may come by one queue. Use \
                 `receivers` to share them among workers."
            );
            continue;
        };
        let (queues, by) = (rss.queues, rss.names().join(", "));
        tracing::info!(
            port = name,
            queues,
            symmetric = rss.symmetric,
            "spreads flows over its queues by {by}"
        );
        if let Some(why) = unlike(rss, common).filter(|_| matters) {
            let text = format!(
                "port `{name}`: {why}, so the two directions of a flow can meet different workers. Write `receivers = 1` in \
                 `manager`: receivers choose the worker by a hash of their own."
            );
            return Err(RunError::Unsupported(text));
        }
    }
    Ok(())
}

/// The kinds of packets that all hash.
fn common(all: impl Iterator<Item = Rss>) -> u64 {
    all.map(|rss| rss.kinds).reduce(|a, b| a & b).unwrap_or(0)
}

/// In what a card is not like the others.
fn unlike(rss: Rss, common: u64) -> Option<&'static str> {
    if !rss.symmetric {
        return Some("the card has not taken the key by which both directions have one hash");
    }
    if rss.kinds != common || common == 0 {
        return Some(
            "the card hashes other kinds of packets than the other cards, and cannot be set to theirs",
        );
    }
    (!rss.common_table)
        .then_some("the card has not taken the table by which one hash is the same queue on all cards")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Rss = Rss {
        queues: 2,
        kinds: 0b1110,
        symmetric: true,
        common_table: true,
    };

    #[test]
    fn what_all_cards_hash_is_what_each_is_to_hash() {
        let udp = Rss { kinds: 0b0110, ..ALL };
        assert_eq!(common([ALL, udp].into_iter()), 0b0110);
        assert_eq!(common([].into_iter()), 0);
        assert_eq!(unlike(udp, 0b0110), None);
        assert!(unlike(ALL, 0b0110).is_some_and(|why| why.contains("other kinds")));
        assert!(unlike(Rss { kinds: 0, ..ALL }, 0).is_some());
    }

    #[test]
    fn a_card_that_is_not_as_it_was_set_is_told_apart() {
        assert_eq!(unlike(ALL, ALL.kinds), None);
        let key = Rss {
            symmetric: false,
            ..ALL
        };
        assert!(unlike(key, ALL.kinds).is_some_and(|why| why.contains("key")));
        let table = Rss {
            common_table: false,
            ..ALL
        };
        assert!(unlike(table, ALL.kinds).is_some_and(|why| why.contains("table")));
    }
}
