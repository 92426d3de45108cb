"""Cases for the agency's own systems: a key with ``cases:read`` sees every case, whatever its carrier."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastapi import APIRouter

from voiceguard.api import docs
from voiceguard.api.auth import CasesReader
from voiceguard.api.notice_models import CaseEvent, CaseOut, CasePage, CaseSummary, MemberOut, NoticeOut
from voiceguard.api.problems import Problem
from voiceguard.api.requests import Cursor, Id, Limit, before
from voiceguard.api.service import ServiceDep
from voiceguard.store import audit, cases, cursors, notices
from voiceguard.store.audit import Act, Action
from voiceguard.store.cases import Listed, State
from voiceguard.store.engine import reading, writing

router = APIRouter(prefix="/v1/cases", tags=["cases"])


@router.get("", summary="List cases", responses=docs.errors(401, 403, 422, 429, 503))
async def list_cases(
    service: ServiceDep,
    key: CasesReader,
    state: State | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> CasePage:
    """List the cases, latest first."""
    before_seq = before(cursor)

    def _page() -> list[Listed]:
        with reading(service.engine) as connection:
            return cases.page(connection, state=state, before_seq=before_seq, limit=limit + 1)

    found = await service.in_thread(_page)
    return CasePage(
        data=[CaseSummary(**_summary(one)) for one in found[:limit]],
        next_cursor=cursors.encode(found[limit - 1].case.seq) if len(found) > limit else None,
    )


@router.get("/{case_id}", summary="Read a case", responses=docs.errors(401, 403, 404, 422, 429, 503, 507))
async def get_case(service: ServiceDep, key: CasesReader, case_id: Id) -> CaseOut:
    """Read a case with its calls, campaigns, notices and history; that it was read is recorded."""

    def _get() -> CaseOut:
        with reading(service.engine) as connection:
            case = cases.get(connection, case_id)
            if case is None:
                raise Problem("not_found", "Expected the id of a case.")
            (listed,) = cases.page(connection, state=None, before_seq=case.seq + 1, limit=1)
            out = [one for one in notices.of_case(connection, case.seq) if one.state in notices.OUT]
            found = CaseOut(
                **_summary(listed),
                contents=[MemberOut.model_validate(one) for one in cases.members(connection, case.seq)],
                notices_sent=[NoticeOut.of(one, late=one.late(service.clock())) for one in out],
                history=[CaseEvent.model_validate(one) for one in cases.history(connection, case.seq)],
            )
        with writing(service.engine) as connection:
            audit.append(connection, Act(key.id, Action.CASE_VIEWED, case_id, {}))
        return found

    return await service.in_thread(_get)


def _summary(listed: Listed) -> dict[str, Any]:
    fields = dataclasses.asdict(listed)
    case = fields.pop("case")
    return {name: case[name] for name in CaseSummary.model_fields if name in case} | fields
