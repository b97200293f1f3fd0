//! `onvmc send`: from an operator to instances of an NF, and their answers back. Nobody but the operator waits for these.

use std::time::Duration;

use nflib::messages::Delivery;
use onvm_api::{self as wire, ApiError};
use onvm_bundle::{Host, Sender, kind_for};
use tokio::{sync::oneshot, time::Instant};

use super::{Manager, answer};
use crate::fleet::messages::{Answer, number_of, renamed};

/// For an instance to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// An instance's name, and where its answer comes or why it cannot be asked.
type Asked = (String, Result<oneshot::Receiver<Answer>, String>);

impl Manager {
    /// Sends a message; the answer comes when all instances have answered, or their time is over.
    pub(super) fn send(
        &mut self,
        request: wire::SendRequest,
        reply: oneshot::Sender<Result<wire::SendReply, ApiError>>,
    ) {
        let (nf, kind) = (request.nf.clone(), request.kind.clone());
        let asked = match self.ask(request) {
            Ok(asked) => asked,
            Err(error) => return answer(reply, Err(error)),
        };
        tokio::task::spawn_local(async move {
            let until = Instant::now() + ANSWER_DEADLINE;
            let mut instances = Vec::new();
            for (instance, asked) in asked {
                let answered = match asked {
                    Ok(answer) => await_answer(answer, until).await,
                    Err(why) => Err(why),
                };
                let (answer, error) = match answered {
                    Ok(answer) => (Some(answer), None),
                    Err(why) => (None, Some(why)),
                };
                instances.push(wire::SendAnswer {
                    instance,
                    answer,
                    error,
                });
            }
            answer(
                reply,
                Ok(wire::SendReply {
                    version: wire::API_VERSION,
                    nf,
                    kind,
                    instances,
                }),
            );
        });
    }

    fn ask(&mut self, request: wire::SendRequest) -> Result<Vec<Asked>, ApiError> {
        let addressed = self.addressed(&request.nf)?;
        let Some(member) = self.fleet.members(addressed.service).get(addressed.place) else {
            return Err(self.no_such(&request.nf));
        };
        let name = member.name.clone();
        let refused = |why: String| {
            ApiError::new(
                ApiError::BAD_MESSAGE,
                format!("NF `{name}` does not take this message: {why}"),
                "Its manifest declares the messages that it takes (`[[messages]]`).",
            )
        };
        let kind = kind_for(&member.kinds, &request.kind, Sender::Operator).map_err(refused)?;
        let fields = kind.read(request.fields).map_err(refused)?;
        let numbered = self.fleet.numbered(addressed.service);
        let mut asked = Vec::new();
        for (number, slot) in numbered {
            if addressed.number.is_some_and(|only| only != number) {
                continue;
            }
            self.last_message += 1;
            let delivery = Delivery {
                number: self.last_message,
                peer: None,
                member: addressed.place as u16,
                kind: request.kind.clone(),
                fields: fields.clone(),
            };
            let instance = renamed(&format!("-{number}"), &name);
            asked.push((instance, self.fleet.ask(slot, delivery)));
        }
        match asked.is_empty() {
            false => Ok(asked),
            true => Err(ApiError::new(
                ApiError::UNKNOWN_NF,
                format!("NF `{name}` has no instance `{}`", request.nf),
                "`onvmc status` names the instances that there are.",
            )),
        }
    }

    /// The NF that is meant by its name, or by that of an instance.
    fn addressed(&self, nf: &str) -> Result<Addressed, ApiError> {
        let hosts = self.bundle.manager.hosts();
        let of = |name: &str| {
            let found = hosts.iter().find_map(|host| {
                let place = host.members.iter().position(|member| member.name == name)?;
                Some((host, place))
            });
            let (host, place) = found?;
            Some((self.fleet.serving(&self.serving, &host.service.name)?, place))
        };
        let instance = nf.rsplit_once('-').zip(number_of(nf));
        let found = match (of(nf), instance) {
            (Some((service, place)), _) => Some((service, place, None)),
            (None, Some(((name, _), number))) => {
                of(name).map(|(service, place)| (service, place, Some(number)))
            }
            (None, None) => None,
        };
        match found {
            Some((service, place, number)) => Ok(Addressed {
                service,
                place,
                number,
            }),
            None => Err(refuse_process(&hosts, nf).unwrap_or_else(|| self.no_such(nf))),
        }
    }

    fn no_such(&self, nf: &str) -> ApiError {
        match self.service(nf) {
            Err(error) => error,
            Ok(_) => ApiError::new(
                ApiError::BUSY,
                format!("NF `{nf}` is being replaced"),
                "Send the message again once the apply has ended.",
            ),
        }
    }
}

struct Addressed {
    /// A slot.
    service: u16,
    /// Among the NFs of the process.
    place: usize,
    /// Of one instance; none: all.
    number: Option<u16>,
}

/// The name of a process of several NFs says none of them.
fn refuse_process(hosts: &[Host<'_>], nf: &str) -> Option<ApiError> {
    let is_it = |host: &&Host<'_>| {
        let name = &host.service.name;
        host.is_fused() && (name == nf || nf.rsplit_once('-').is_some_and(|(service, _)| service == name))
    };
    let host = hosts.iter().find(is_it)?;
    let names: Vec<&str> = host.members.iter().map(|member| member.name.as_str()).collect();
    Some(ApiError::new(
        ApiError::UNKNOWN_NF,
        format!("`{nf}` is the process of several NFs"),
        format!("Name one of them: {}.", names.join(", ")),
    ))
}

async fn await_answer(answer: oneshot::Receiver<Answer>, until: Instant) -> Answer {
    match tokio::time::timeout_at(until, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err("it was lost before it answered; `onvmc status` says why".to_owned()),
        Err(_) => Err(format!(
            "it did not answer within {} s",
            ANSWER_DEADLINE.as_secs()
        )),
    }
}
