//! `onvmc logs`: what instances have printed.

use onvm_api::{self as wire, ApiError};

use super::Manager;

impl Manager {
    pub(super) fn logs(&self, request: &wire::LogsRequest) -> Result<wire::LogsReply, ApiError> {
        let hosts = self.bundle.manager.hosts();
        // Those that are fused print as one process.
        let host = hosts
            .iter()
            .find(|host| host.members.iter().any(|member| member.name == request.nf));
        let service = host.map_or(request.nf.as_str(), |host| host.service.name.as_str());
        let is_meant = |instance: &str| {
            instance == request.nf || instance.rsplit_once('-').is_some_and(|(of, _)| of == service)
        };
        let most = request.limit.map(|limit| limit as usize);
        let (lines, last) = self.fleet.journal().read(is_meant, request.after, most);
        let known = host.is_some()
            || hosts
                .iter()
                .any(|host| host.service.instances.iter().any(|i| is_meant(&i.name)));
        // One that was there before is remembered by its lines.
        if !known && lines.is_empty() && request.after.is_none() {
            self.service(&request.nf)?;
        }
        Ok(wire::LogsReply {
            version: wire::API_VERSION,
            nf: request.nf.clone(),
            lines,
            last,
        })
    }
}
