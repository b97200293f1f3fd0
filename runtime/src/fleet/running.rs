//! A running instance: watched, talked to, moved to other cores, and stopped.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use nflib::{
    Region,
    messages::Sent,
    session::{self, Command, FromNf, ToNf},
};
use tokio::{io::unix::AsyncFd, sync::mpsc::UnboundedReceiver};

use super::{
    asking::Asking,
    closing::NfSocket,
    cores::{has_moved, is_on},
    log::quote::quote_debug,
    messages::{Mail, OF_A_RECEIVER, Said},
    offer::{Offer, Taken},
    processes::describe_exit,
    register::{HUNG_UP, hear, hung_up},
    supervise::{End, Order, Report, Supervisor},
};
use crate::{container::Container, director::FlowRequests, jail::NfProcess};

/// From a hang-up to the process's end.
const GONE_DEADLINE: Duration = Duration::from_millis(100);
/// From `stop` to the process's end.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// What an instance runs as, where this manager starts it.
pub(super) enum Hosted<'a> {
    Process(&'a mut NfProcess),
    Container(&'a mut Container),
}

impl Hosted<'_> {
    /// Waits until nothing of it runs any more.
    async fn ended(&mut self) {
        match self {
            Self::Process(process) => process.ended().await,
            Self::Container(container) => container.is_dead().await,
        }
    }
}

/// A started instance: its connection, and what it runs as if this manager started it.
pub(super) struct Running<'a> {
    pub connection: AsyncFd<NfSocket>,
    pub region: Region,
    pub hosted: Option<Hosted<'a>>,
}

impl Running<'_> {
    /// Watches the running instance until it goes or is to go.
    pub(super) async fn watch(
        &mut self,
        supervisor: &Supervisor,
        orders: &mut UnboundedReceiver<Order>,
    ) -> End {
        // Its cores may have changed since it was started.
        self.pin(supervisor);
        let mut talk = Talk {
            asking: Asking::new(supervisor.life.get()),
            mail: Mail::default(),
            offer: None,
        };
        let lost = |why| End::Lost {
            why,
            clean_exit: false,
        };
        loop {
            let from = talk.asking.from;
            let hear = async {
                // A timer takes a millisecond or two also where its time is over.
                if from > Instant::now() {
                    tokio::time::sleep_until(from.into()).await;
                }
                hear(&self.connection).await
            };
            let may_talk = talk.asking.may_ask() && talk.mail.may_say();
            tokio::select! {
                heard = hear, if may_talk => match heard {
                    Err(why) => return self.gone(why).await,
                    Ok(message) => if let Err(why) = talk.hear(supervisor, message) {
                        return lost(why);
                    },
                },
                // It may be gone while there is no reason to read.
                () = hung_up(&self.connection), if !may_talk => return self.gone(HUNG_UP.to_owned()).await,
                room = self.connection.writable(), if talk.has_something() => {
                    if let Ok(mut room) = room {
                        room.clear_ready();
                    }
                }
                order = orders.recv() => match order {
                    Some(Order::Stop) | None => {
                        self.stop().await;
                        return End::Stopped;
                    }
                    Some(Order::Kill(why)) => return lost(why),
                    Some(Order::Recovered) => {}
                    Some(Order::Move) => self.pin(supervisor),
                    Some(Order::Flows(news)) => talk.asking.hear(*news),
                    Some(Order::Reconfigure(given)) => talk.offer = Some(Offer::new(*given)),
                    Some(Order::Letter(letter)) => talk.mail.take(*letter),
                    Some(Order::Sent(life, sent)) => talk.is_sent(life, sent),
                },
            }
            if talk.has_something() {
                self.tell(&mut talk, supervisor);
            }
        }
    }

    fn pin(&self, supervisor: &Supervisor) {
        if let Some(hosted) = &self.hosted {
            supervisor.pin(hosted);
        }
    }

    /// Sends what there is to tell, as far as there is room, and calls the instance to look. A connection that fails is noticed by
    /// those who read from it.
    fn tell(&self, talk: &mut Talk, supervisor: &Supervisor) {
        let socket = self.connection.get_ref();
        let news = talk.asking.send(socket).unwrap_or(false);
        let mail = talk.mail.send(socket).unwrap_or(false);
        let offered = talk.send_offer(socket, supervisor);
        if news || mail || offered {
            self.call();
        }
    }

    /// Has the instance look at its socket.
    fn call(&self) {
        let command = self.region.command();
        let _ = command.compare_exchange(
            Command::Run as u32,
            Command::Message as u32,
            Ordering::Release,
            Ordering::Relaxed,
        );
        self.region.nf_bell().wake();
    }

    async fn gone(&mut self, why: String) -> End {
        let lost = |why| End::Lost {
            why,
            clean_exit: false,
        };
        let Some(hosted) = self.hosted.as_mut() else {
            return lost(why);
        };
        // Of one that ends by itself, its exit says more than the broken connection.
        let ended = tokio::time::timeout(GONE_DEADLINE, hosted.ended()).await;
        match (ended, hosted) {
            (Ok(()), Hosted::Process(process)) => {
                let status = process.wait().await;
                let clean_exit = status.as_ref().is_ok_and(std::process::ExitStatus::success);
                End::Lost {
                    why: describe_exit(process, status),
                    clean_exit,
                }
            }
            (Ok(()), Hosted::Container(_)) => lost("its container ended".to_owned()),
            (Err(_), _) => lost(why),
        }
    }

    async fn stop(&mut self) {
        self.region
            .command()
            .store(Command::Stop as u32, Ordering::Release);
        self.region.nf_bell().wake();
        // The command word is enough for an NF that runs; the message reaches one that looks at its socket alone.
        let _ = session::send(&self.connection, &ToNf::Stop, &[]);
        if let Some(hosted) = self.hosted.as_mut() {
            // One that does not end is ended.
            let _ = tokio::time::timeout(STOP_DEADLINE, hosted.ended()).await;
        }
    }
}

/// What is said between the manager and one life of an instance.
struct Talk {
    asking: Asking,
    mail: Mail,
    offer: Option<Offer>,
}

impl Talk {
    /// Takes a message of the instance; the reason where it must not send it.
    fn hear(&mut self, supervisor: &Supervisor, message: FromNf) -> Result<(), String> {
        let life = self.asking.life;
        match message {
            FromNf::Flows { first, requests } => {
                self.asking.ask(first, &requests)?;
                supervisor.report(Report::Flows(FlowRequests {
                    life,
                    first,
                    requests,
                }));
            }
            FromNf::Message {
                number,
                member,
                kind,
                fields,
            } => {
                let said = Said {
                    life,
                    number,
                    member,
                    kind,
                    fields,
                };
                self.asking.charge(self.mail.say(&said)?);
                supervisor.report(Report::Said(said));
            }
            FromNf::Answer {
                number,
                answer,
                error,
            } => self.mail.answered(number, answer, error)?,
            FromNf::Reconfigured { supported, error } if self.offer.as_ref().is_some_and(|o| o.sent) => {
                self.offer = None;
                supervisor.report(Report::Reconfigured(Taken::new(supported, error)));
            }
            // Nothing was asked of it, and one that talks without end must not keep this thread busy.
            message => {
                return Err(format!(
                    "it sent an unexpected message: {}",
                    quote_debug(&message)
                ));
            }
        }
        Ok(())
    }

    /// A message that it sent is on its way.
    fn is_sent(&mut self, life: u32, sent: Sent) {
        if life == self.asking.life {
            self.asking.charge(OF_A_RECEIVER * sent.reached.into());
            self.mail.tell(sent);
        }
    }

    /// Whether there is something to tell it.
    fn has_something(&self) -> bool {
        self.asking.has_news() || self.mail.has_some() || self.offer.as_ref().is_some_and(|o| !o.sent)
    }

    /// Sends other parameters, if there is room for them by now; says whether it did.
    fn send_offer(&mut self, socket: &NfSocket, supervisor: &Supervisor) -> bool {
        match self.offer.as_mut().map(|offer| offer.send(socket)) {
            Some(Err(e)) => {
                self.offer = None;
                let why = format!("they could not be sent: {e}");
                supervisor.report(Report::Reconfigured(Taken::Refused(why)));
                false
            }
            Some(Ok(sent)) => sent,
            None => false,
        }
    }
}

impl Supervisor {
    /// Moves it to its cores, if these are not those that it is on.
    fn pin(&self, hosted: &Hosted<'_>) {
        let cores = self.cores();
        if is_on(&self.assignment, &cores) {
            return;
        }
        match hosted {
            Hosted::Process(process) => {
                if let Err(e) = process.pin(&cores) {
                    tracing::warn!(instance = %self.spec.name, ?cores, "it cannot be moved to these cores: {e}");
                }
                has_moved(&self.assignment, cores);
            }
            Hosted::Container(container) => {
                container.follow(&self.spec.name, self.assignment.clone());
            }
        }
    }
}
