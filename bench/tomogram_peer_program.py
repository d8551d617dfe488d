"""One run of another program on a set of `tomogram_scene.py`, in that program's own environment, on the CPU.

    PYTHON bench/tomogram_peer_program.py deepdewedge --source CHECKOUT --data SET --work FOLDER --seed 1

Nothing here is the peers' code: what they do to a GPU is sent to the CPU while they run, and the CPU seconds of their
three steps are taken, workers included. The last line printed is `RESULT` and JSON: `prepare_s`, `train_s`,
`predict_s` (CPU seconds), `steps`, `parameters`, `settings` and `output`.
"""

import argparse
import gc
import importlib
import json
import os
import random
import sys
import types
from pathlib import Path

import numpy as np
import psutil

DEEPDEWEDGE = {"size": 32, "chans": 16, "stride": 16, "batch": 4, "epochs": 8, "refill": 4, "lr": 1e-3}
ISONET2 = {"arch": "unet-small", "cube": 32, "subtomos": 80, "batch": 4, "epochs": 5, "mw_weight": 20, "lr": 1e-3}
ISONET = {"cube": 32, "crop": 48, "base": 16, "subtomos": 30, "batch": 4, "iterations": 3, "epochs": 3, "steps": 4}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--source", type=Path, required=True, help="folder that has the peer's package in it")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="an empty or new folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=NUMBER", help="other settings than the table's")
    given = parser.parse_args()
    run, settings = PEERS[given.peer]
    named = dict(pair.split("=") for pair in given.set)
    settings = settings | {name: type(settings[name])(value) for name, value in named.items()}
    sys.path.insert(0, str(given.source.resolve()))
    random.seed(given.seed)
    np.random.seed(given.seed)
    given.work.mkdir(parents=True, exist_ok=True)
    data = given.data.resolve()
    meta = json.loads((data / "meta.json").read_text())
    os.chdir(given.work)
    found = run(data, meta, settings, given.seed)
    found["settings"] = settings
    print("RESULT " + json.dumps(found), flush=True)


def deepdewedge(data, meta, settings, seed):
    """prepare-data, fit-model and refine-tomogram of DeepDeWedge, which knows ranges symmetric around 0 only."""
    # Lightning 1.8 reads its own checkpoints as pickles.
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    import pytorch_lightning
    import torch
    from ddw.prepare_data import prepare_data
    from ddw.refine_tomogram import refine_tomogram

    torch.set_num_threads(1)
    fit = importlib.import_module("ddw.fit_model")  # the package has a function of the same name
    trainer = pytorch_lightning.Trainer
    fit.pl.Trainer = lambda *p, **k: trainer(*p, **k | {"accelerator": "cpu", "devices": 1, "strategy": None})
    steps = _counted(torch.optim.Adam)
    wedge_deg = 180 - (meta["tilt_max_deg"] - meta["tilt_min_deg"])
    common = {"subtomo_size": settings["size"], "project_dir": "."}
    halves = {"tomo0_files": [data / "even.mrc"], "tomo1_files": [data / "odd.mrc"], "standardize_full_tomos": True}
    clock = Clock()
    strides = 3 * [settings["stride"]]
    prepare = {"mask_files": [], "subtomo_extraction_strides": strides, "val_fraction": 0.0, "overwrite": True}
    prepare_data(**halves, **prepare, seed=seed, **common)
    clock.lap("prepare_s")
    fit.fit_model(
        unet_params_dict={"chans": settings["chans"], "num_downsample_layers": 3, "drop_prob": 0.0},
        adam_params_dict={"lr": settings["lr"]},
        num_epochs=settings["epochs"],
        batch_size=settings["batch"],
        mw_angle=wedge_deg,
        gpu=[0],
        num_workers=1,
        update_subtomo_missing_wedges_every_n_epochs=settings["refill"],
        save_model_every_n_epochs=settings["epochs"],
        save_n_models_with_lowest_fitting_loss=0,
        save_n_models_with_lowest_val_loss=0,
        logger="csv",
        seed=seed,
        **common,
    )
    clock.lap("train_s")
    kept = max(Path("logs").rglob("*.ckpt"), key=os.path.getmtime)
    refine = {"mw_angle": int(wedge_deg), "subtomo_overlap": 16, "batch_size": settings["batch"], "num_workers": 0}
    refine_tomogram(**halves, **refine, model_checkpoint_file=kept, output_dir="refined", gpu=None, **common)
    clock.lap("predict_s")
    weights = torch.load(kept, weights_only=False, map_location="cpu")["state_dict"]
    return clock.laps | _told(len(steps), weights, next(Path("refined").iterdir()))


def isonet2(data, meta, settings, seed):
    """prepare_star, make_mask, refine and predict of IsoNet2, whose code names CUDA wherever it places a tensor."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # it refuses to start without a device's number
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    _without_cuda(torch)
    _old_scipy_name()
    from IsoNet.bin.isonet import ISONET

    for folder, name in (("EVN", "even"), ("ODD", "odd"), ("FULL", "full")):
        Path(folder).mkdir()
        Path(folder, f"t_{folder}.mrc").symlink_to(data / f"{name}.mrc")
    steps, program, clock = _counted(torch.optim.AdamW), ISONET(), Clock()
    program.prepare_star(
        full="FULL",
        even="EVN",
        odd="ODD",
        pixel_size=meta["voxel_size_A"],
        number_subtomos=settings["subtomos"],
        tilt_min=meta["tilt_min_deg"],
        tilt_max=meta["tilt_max_deg"],
    )
    program.make_mask("tomograms.star", input_column="rlnTomoName", z_crop=0.2, std_percentage=80)
    clock.lap("prepare_s")
    program.refine(
        "tomograms.star",
        output_dir="maps",
        method="isonet2-n2n",
        mw_weight=settings["mw_weight"],
        input_column="rlnTomoName",
        gpuID=0,
        ncpus=1,
        arch=settings["arch"],
        cube_size=settings["cube"],
        epochs=settings["epochs"],
        batch_size=settings["batch"],
        learning_rate=settings["lr"],
        learning_rate_min=settings["lr"],
        mixed_precision=False,
        with_preview=False,
        save_interval=settings["epochs"],
    )
    clock.lap("train_s")
    kept = sorted(Path("maps").glob("network_*_full.pt"))[0]
    predicted = program.predict(
        "tomograms.star", str(kept), output_dir="corrected", gpuID=0, input_column="rlnTomoName"
    )
    clock.lap("predict_s")
    weights = torch.load(kept, weights_only=False, map_location="cpu")["model_state_dict"]
    # It calls the optimiser once more an epoch, after the last batch.
    return clock.laps | _told(len(steps) - settings["epochs"], weights, predicted[0])


def isonet(data, meta, settings, seed):
    """prepare_star, make_mask, extract, refine and predict of IsoNet 0.3, on one tomogram, without its noise."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    tensorflow.random.set_seed(seed)
    from IsoNet.bin import refine
    from IsoNet.bin.isonet import ISONET

    refine.check_gpu = lambda args: None  # it wants nvidia-smi
    Path("tomo").mkdir()
    Path("tomo/t.mrc").symlink_to(data / "full.mrc")
    program, clock = ISONET(), Clock()
    program.prepare_star("tomo", pixel_size=meta["voxel_size_A"], number_subtomos=settings["subtomos"])
    program.make_mask("tomograms.star", density_percentage=50, std_percentage=80, z_crop=0.1)
    program.extract("tomograms.star", cube_size=settings["cube"], crop_size=settings["crop"])
    clock.lap("prepare_s")
    iterations, epochs, steps = settings["iterations"], settings["epochs"], settings["steps"]
    program.refine(
        "subtomo.star",
        gpuID="0",
        iterations=iterations,
        epochs=epochs,
        batch_size=settings["batch"],
        steps_per_epoch=steps,
        filter_base=settings["base"],
        preprocessing_ncpus=1,
        noise_level=(0.0,),
        noise_start_iter=(10**6,),
        remove_intermediate=False,
    )
    clock.lap("train_s")
    kept, cube = f"results/model_iter{iterations:02d}.h5", settings["cube"]
    sizes = {"cube_size": cube, "crop_size": max(settings["crop"], cube + 24), "batch_size": settings["batch"]}
    program.predict("tomograms.star", kept, gpuID="0", **sizes)
    clock.lap("predict_s")
    weights = {str(n): w for n, w in enumerate(tensorflow.keras.models.load_model(kept).get_weights())}
    return clock.laps | _told(iterations * epochs * steps, weights, "corrected_tomos/t_corrected.mrc")


PEERS = {"deepdewedge": (deepdewedge, DEEPDEWEDGE), "isonet2": (isonet2, ISONET2), "isonet": (isonet, ISONET)}


class Clock:
    """CPU seconds of this process and all it started, step by step."""

    def __init__(self):
        self.laps, self._last = {}, _cpu_s()

    def lap(self, name):
        """Keeps what was used since the last one."""
        gc.collect()  # loader processes end with the last reference to them
        now = _cpu_s()
        self.laps[name], self._last = round(now - self._last, 1), now


def _cpu_s():
    used = psutil.Process().cpu_times()
    total = used.user + used.system + used.children_user + used.children_system
    for child in psutil.Process().children(recursive=True):
        used = child.cpu_times()
        total += used.user + used.system
    return total


def _counted(optimiser):
    """A list that grows with every step of an optimiser's class."""
    steps, step = [], optimiser.step

    def counted(self, *p, **k):
        steps.append(1)
        return step(self, *p, **k)

    optimiser.step = counted
    return steps


def _told(steps, weights, output):
    count = sum(int(np.prod(values.shape)) for values in weights.values())
    return {"steps": steps, "parameters": count, "output": str(Path(output).resolve())}


def _without_cuda(torch):
    """Places every module and tensor on the CPU, whatever device is asked for."""

    def placed(value):
        device = isinstance(value, torch.device | str | int) and not isinstance(value, bool)
        return "cpu" if device and (isinstance(value, int) or "cuda" in str(value)) else value

    for kind in (torch.nn.Module, torch.Tensor):
        original = kind.to
        kind.to = lambda self, *p, original=original, **k: original(self, *[placed(v) for v in p], **k)
    torch.Tensor.cuda = lambda self, *p, **k: self
    torch.cuda.set_device = lambda *p, **k: None


def _old_scipy_name():
    """`scipy.ndimage.filters`, which newer SciPy has no more."""
    import scipy.ndimage

    if not hasattr(scipy.ndimage, "filters"):
        module = types.ModuleType("scipy.ndimage.filters")
        for name in ("gaussian_filter", "maximum_filter", "convolve"):
            setattr(module, name, getattr(scipy.ndimage, name))
        sys.modules["scipy.ndimage.filters"] = module


if __name__ == "__main__":
    main()
