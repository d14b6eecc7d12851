"""`singalong doctor`: what is installed, found and missing, and how to mend it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Literal

from flows.exit_codes import EXIT_OK, EXIT_SOME_FAILED
from flows.terminal import out, print_json
from singalong.config import Settings, default_models_home
from singalong.errors import SingalongError
from singalong.remote_store import store_of
from singalong.urls import is_url

Level = Literal["ok", "note", "missing"]
_MARKS = {"ok": "[green]ok[/]     ", "note": "[yellow]note[/]   ", "missing": "[red]missing[/]"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `mend` says what to do where something is to be done."""

    subject: str
    level: Level
    found: str
    mend: str = ""


def doctor_command(*, as_json: bool) -> int:
    """Print the findings; exit code 1 if something a run needs is missing."""
    findings = [_examine(subject, check) for subject, check in _CHECKS.items()]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            out.print(f"{_MARKS[finding.level]} {finding.subject:<10}", end=" ")
            out.print(finding.found, markup=False)
            if finding.mend:
                out.print(f"{'':<19}{finding.mend}", markup=False)
    return EXIT_SOME_FAILED if any(finding.level == "missing" for finding in findings) else EXIT_OK


def _examine(subject: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a broken library must not stop the examination of the others
        return Finding(subject, "missing", f"{type(error).__name__}: {error}", "Reinstall: make setup")


def _python() -> Finding:
    return Finding("python", "ok", sys.version.split()[0])


def _torch() -> Finding:
    import torch

    from models.engine import pick_precision

    if torch.cuda.is_available():
        found = f"torch {torch.__version__}, {torch.cuda.device_count()} GPU(s): {torch.cuda.get_device_name(0)}"
        return Finding("torch", "ok", f"{found}, {pick_precision('cuda')}")
    return Finding(
        "torch",
        "note",
        f"torch {torch.__version__} on the CPU ({os.cpu_count()} cores), {pick_precision('cpu')}",
        "No GPU was found. With one, install a CUDA build of the same torch version.",
    )


def _gpu_share() -> Finding:
    import torch

    from singalong.settings import RunSettings

    settings = RunSettings()
    if not torch.cuda.is_available():
        return Finding(
            "batches", "ok", f"{settings.batch_size} frames at once on the CPU, which gains nothing from more"
        )
    free, total = (value / 2**30 for value in torch.cuda.mem_get_info(0))
    actors = max(1, int(1 / settings.gpus_per_actor))
    return Finding(
        "batches",
        "ok",
        f"{actors} actors share a card ({free:.0f} of {total:.0f} GB free); each starts with {settings.batch_size} "
        f"frames at once and doubles while its share of {total * settings.gpus_per_actor:.0f} GB has room",
        "More or fewer: --set run.gpus_per_actor=SHARE. How fast this is was never measured by us.",
    )


def _codec(subject: str) -> Finding:
    from singalong.media.codecs import choose_decoder, choose_encoder

    choice = choose_decoder() if subject == "decoder" else choose_encoder()
    on_cpu = "libav on the CPU" if subject == "decoder" else "x264 on the CPU (HDR: x265)"
    on_card = "NVDEC on the GPU" if subject == "decoder" else "NVENC on the GPU (HDR: x265 on the CPU)"
    return Finding(subject, "ok", f"{on_card if choice.is_nvidia else on_cpu}; {choice.reason}")


def _media() -> Finding:
    import av

    version = ".".join(str(part) for part in av.library_versions["libavcodec"])
    missing = [name for name in ("libx264", "aac") if name not in av.codecs_available]
    if missing:
        return Finding("media", "missing", f"PyAV {av.__version__} without {', '.join(missing)}", "pip install av")
    return Finding("media", "ok", f"PyAV {av.__version__}, libavcodec {version}, libx264 and aac")


def _detector() -> Finding:
    import onnxruntime

    from models import registry

    ref = registry.resolve("centerface", "detector", home=default_models_home())
    assert ref is not None
    providers = ", ".join(onnxruntime.get_available_providers())
    return Finding("detector", "ok", f"CenterFace at {ref.path}; ONNX Runtime {onnxruntime.__version__} ({providers})")


def _generator() -> Finding:
    return _best_model(
        "generator",
        bundled="singalong_warper",
        about=", a puppeteer rather than a painter",
        hint="For realism add a Wav2Lip checkpoint: singalong models add NAME checkpoint.pth",
    )


def _scorer() -> Finding:
    return _best_model(
        "scorer",
        bundled="singalong_expert",
        about="; its confidence has a scale of its own",
        hint="For published LSE-C and LSE-D add SyncNet: singalong models add NAME syncnet_v2.model",
    )


def _best_model(role: Literal["generator", "scorer"], *, bundled: str, about: str, hint: str) -> Finding:
    """The model that is taken where none is named; of our own, whose architecture is `bundled`, more is said."""
    from models import registry

    ref = registry.resolve("auto", role, home=default_models_home())
    assert ref is not None
    if ref.architecture != bundled:
        return Finding(role, "ok", f"{ref.name} ({ref.architecture})")
    return Finding(role, "ok", f"{ref.name}: the small one that comes with singalong{about}", hint)


def _store() -> Finding:
    settings = Settings()
    if is_url(settings.store_location):
        try:
            return _remote_store(settings)
        except (SingalongError, OSError) as error:
            return Finding("store", "missing", str(error), "See docs/object-stores.md.")
    folder = settings.store_path
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        return Finding("store", "missing", f"{folder} cannot be written", "Set SINGALONG_STORE to another folder.")
    free_gb = shutil.disk_usage(folder).free / 1e9
    mend = "Less than 2 GB are free: clear space or set SINGALONG_STORE." if free_gb < 2 else ""
    return Finding("store", "note" if mend else "ok", f"{folder}, {free_gb:.1f} GB free", mend)


def _remote_store(settings: Settings) -> Finding:
    store, folder = store_of(settings), settings.store_path
    store.check_reachable()
    folder.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(folder).free / 1e9
    mend = "Free some space, or set run.cache_dir or a smaller run.cache_gb." if free_gb < 2 else ""
    found = f"{store.location} answers; its cache is {folder}, {free_gb:.1f} GB free"
    return Finding("store", "note" if mend else "ok", found, mend)


def _credentials() -> Finding:
    from tasks.certificate import OWN_CERTIFICATE
    from tasks.credentials import can_sign

    if not can_sign():
        mend = "Films will not carry content credentials (C2PA). Reinstall: make setup"
        return Finding("signature", "note", "c2pa-python does not work here", mend)
    path = Settings().store_path / OWN_CERTIFICATE
    made = "" if path.exists() else ", made with the first film"
    return Finding(
        "signature",
        "ok",
        f"c2pa-python {metadata.version('c2pa-python')}; our own certificate at {path}{made}: "
        "self-signed, it proves that a film is unchanged, not who made it",
        "To sign with your own: film.certificate and film.certificate_key.",
    )


def _ray() -> Finding:
    address = os.environ.get("RAY_ADDRESS")
    where = f"cluster at {address}" if address else "a local cluster is started for each run"
    return Finding("ray", "ok", f"ray {metadata.version('ray')}; {where}")


def _prefect() -> Finding:
    address = os.environ.get("PREFECT_API_URL")
    where = f"server at {address}" if address else "an ephemeral server is started for each run"
    return Finding("prefect", "ok", f"prefect {metadata.version('prefect')}; {where}")


_CHECKS: dict[str, Callable[[], Finding]] = {
    "python": _python,
    "torch": _torch,
    "batches": _gpu_share,
    "media": _media,
    "decoder": lambda: _codec("decoder"),
    "encoder": lambda: _codec("encoder"),
    "detector": _detector,
    "generator": _generator,
    "scorer": _scorer,
    "store": _store,
    "signature": _credentials,
    "ray": _ray,
    "prefect": _prefect,
}
