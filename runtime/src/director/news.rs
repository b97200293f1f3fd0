//! What instances are told when all workers obey.

use std::{sync::Arc, time::Duration};

use nflib::flows::{FlowEnded, FlowNews};

use super::{Asked, Director, LISTED};

/// News for an instance.
#[derive(Debug)]
pub(crate) struct News {
    pub instance: u16,
    /// The life of the instance in which it asked; none where it did not.
    pub life: Option<u32>,
    /// The service whose entries they are about. The slot may be another's by now.
    pub nf: Arc<str>,
    /// What the index over entries by filter has taken for what it asked.
    pub index: Duration,
    pub news: FlowNews,
}

impl Director {
    /// All workers have carried out the changes of this number: the news of that.
    pub(crate) fn carried_out(&mut self, number: u64) -> Vec<News> {
        let mut told = Vec::new();
        let done = self.batches.partition_point(|batch| batch.number <= number);
        for batch in self.batches.drain(..done) {
            let ended = batch.ended.len() as u64;
            for (record, why) in batch.ended {
                let (packets, bytes) = record.entry.counts.total();
                let ended = FlowEnded {
                    entry: record.asked,
                    why,
                    packets,
                    bytes,
                };
                tell(&mut told, record.owner, record.nf, ended);
            }
            if let Some(Asked {
                instance,
                nf,
                life,
                news,
                index,
            }) = batch.asked
            {
                told.push(News {
                    instance,
                    life: Some(life),
                    nf,
                    index,
                    news,
                });
            }
            batch.reply.into_iter().for_each(|reply| {
                // Nobody may wait any more.
                let _ = reply.send(ended);
            });
        }
        told
    }
}

/// Adds to the last news of an instance, or begins others.
fn tell(told: &mut Vec<News>, instance: u16, nf: Arc<str>, ended: FlowEnded) {
    let is_it =
        |news: &&mut News| (news.instance, &news.nf) == (instance, &nf) && news.news.ended.len() < LISTED;
    let last = told.iter_mut().rev().find(is_it);
    match last {
        Some(news) => news.news.ended.push(ended),
        None => told.push(News {
            instance,
            life: None,
            nf,
            index: Duration::ZERO,
            news: FlowNews {
                ended: vec![ended],
                ..FlowNews::default()
            },
        }),
    }
}
