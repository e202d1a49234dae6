"""Who is above whom: what a rig file says of its Pilots must fit together."""

from __future__ import annotations

from stations.errors import ConfigError
from stations.suggest import did_you_mean

from .rig import SHARED, PilotSection, Rig


def check_lineage(rig: Rig) -> None:
    """Refuse a rig whose Pilots' names, parents or children contradict each other.

    Raises:
        ConfigError: the dotted path of the key, what is wrong, what to do.
    """
    for pilot, section in rig.pilots.items():
        where = f"pilots.{pilot}"
        if section.name not in (None, pilot):
            raise ConfigError(f"{where}.NAME: {section.name!r}, but its table is [{where}]; give both the same name")
        _check_parent(rig, pilot, section, where)
        if section.children and section.lineage == "NONE":
            raise ConfigError(f'{where}.CHILDID: a Pilot without LINEAGE has no children; add LINEAGE = "PARENT"')
        _check_shared(rig, pilot, where)


def _check_parent(rig: Rig, pilot: str, section: PilotSection, where: str) -> None:
    if section.lineage != "CHILD":
        if section.parent_id is not None:
            raise ConfigError(f'{where}.PARENTID: only a CHILD has a parent; add LINEAGE = "CHILD"')
        return
    if section.parent_id is None:
        raise ConfigError(f"{where}: a CHILD has a Pilot above it; add PARENTID = …")
    if section.parent_id not in rig.pilots and not section.parent_port:
        hint = did_you_mean(section.parent_id, rig.pilots)
        raise ConfigError(f"{where}.PARENTID: no Pilot {section.parent_id!r} in this file; {hint}, or give PARENTPORT")
    seen = [pilot]
    above: str | None = section.parent_id
    while above is not None and above in rig.pilots:
        if above in seen:
            raise ConfigError(f"{where}.PARENTID: {' is below '.join([*seen, above])}; one of them must end the circle")
        seen.append(above)
        above = rig.pilots[above].parent_id


def _check_shared(rig: Rig, pilot: str, where: str) -> None:
    try:
        rig.shared(pilot)
    except KeyError as error:
        name = str(error.args[0])
        raise ConfigError(f"{where}.share: no preference {name!r}; {did_you_mean(name, SHARED)}") from error
