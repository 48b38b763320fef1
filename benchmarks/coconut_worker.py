"""One side of ``race_coconut.py``: JSON commands on standard input, an answer a line.

Runs in an environment of its own for each side, so it imports only what its side has.
"""

import ctypes
import json
import sys
import time

import torch

LATENT, FIRST, LAST = 0, 1, 2  # ids that stand for a latent step, and before and after them


def network_of(spec: dict):
    """The untrained model of ``spec``: the first side writes its weights, the other reads them."""
    import transformers

    config = getattr(transformers, spec["family"] + "Config")(**spec["config"])
    torch.manual_seed(spec["seed"])
    network = getattr(transformers, spec["model"])(config)
    network.config.use_cache = True
    return network


def data_of(spec: dict):
    """Questions (B, Q), ending in FIRST, and answers (B, A), beginning with LAST."""
    generator = torch.Generator("cpu").manual_seed(spec["seed"])
    high = spec["config"]["vocab_size"]

    def draw(count):
        shape = (spec["rows"], count)
        found = torch.randint(3, high, shape, generator=generator, device="cpu")
        return found.to(spec["device"])

    column = torch.ones(spec["rows"], 1, dtype=torch.long)
    questions_BQ = torch.cat([draw(spec["question"] - 1), FIRST * column], 1)
    answers_BA = torch.cat([LAST * column, draw(spec["answer"])], 1)
    return questions_BQ, answers_BA


class Theirs:
    """Coconut's published module, as its run.py calls it; with ``keep_memory`` its process keeps
    what it frees, as ours does."""

    def __init__(self, spec: dict, path: str) -> None:
        if spec["keep_memory"]:
            tell = ctypes.CDLL(None).mallopt
            assert tell(-4, 0) and tell(-1, 2**31 - 1)
        sys.path.insert(0, path)
        from coconut import Coconut

        self.network = network_of(spec)
        self.network.load_state_dict(torch.load(spec["weights"]))
        self.model = Coconut(self.network, LATENT, FIRST, LAST, -1)
        self.spec = spec
        questions_BQ, answers_BA = data_of(spec)
        latents_BK = torch.full((spec["rows"], spec["steps"]), LATENT)
        self.asked_BL = torch.cat([questions_BQ, latents_BK], 1)
        self.ids_BL = torch.cat([self.asked_BL, answers_BA], 1)
        self.labels_BL = self.ids_BL.clone()
        self.labels_BL[:, : self.asked_BL.shape[1] + 1] = -100

    def train(self) -> float:
        self.model.train()
        self.network.zero_grad(set_to_none=True)
        positions_BL = torch.arange(self.ids_BL.shape[1])[None].expand_as(self.ids_BL)
        mask_BL = torch.ones_like(self.ids_BL)
        loss = self.model(self.ids_BL, mask_BL, self.labels_BL, positions_BL).loss
        loss.backward()
        return loss.item()

    def generate(self) -> list[list[int]]:
        self.model.eval()
        with torch.no_grad():
            found = [
                self.model.generate(row_1L, torch.ones_like(row_1L), self.spec["new"])
                for row_1L in self.asked_BL[: self.spec["asked"]].split(1)
            ]
        return [tokens[0, self.asked_BL.shape[1] :].tolist() for tokens in found]


class Ours:
    """The latent policy of this library, in a process set up as ``apportion train`` does."""

    def __init__(self, spec: dict) -> None:
        from apportion.policies.latent.batch import IGNORED, LatentBatch, Questions
        from apportion.policies.latent.model import LatentModel
        from apportion.policies.latent.options import IdentityOptions
        from apportion.train.allocation import keep_freed_memory

        keep_freed_memory()
        self.network = network_of(spec)
        torch.save(self.network.state_dict(), spec["weights"])
        self.model = LatentModel(self.network, IdentityOptions(), steps=spec["steps"])
        self.spec = spec
        questions_BQ, answers_BA = data_of(spec)
        steps_B = torch.full((spec["rows"],), spec["steps"])
        mask_BQ = torch.ones_like(questions_BQ)
        self.questions = Questions(questions_BQ, mask_BQ, steps_B)
        asked = slice(spec["asked"])
        self.asked = Questions(questions_BQ[asked], mask_BQ[asked], steps_B[asked])
        labels_BA = answers_BA.clone()
        labels_BA[:, 0] = IGNORED
        mask_BA = torch.ones_like(answers_BA)
        self.batch = LatentBatch(self.questions, answers_BA, mask_BA, labels_BA)

    def train(self) -> float:
        from apportion.policies.latent.gradient import Bptt

        self.model.train()
        self.network.zero_grad(set_to_none=True)
        loss = self.model(self.batch, Bptt(recompute=self.spec["recompute"])).loss
        loss.backward()
        return loss.item()

    def generate(self) -> list[list[int]]:
        from apportion.policies.latent.generate import answer_tokens

        self.model.eval()
        with torch.no_grad():
            found = answer_tokens(self.model, self.asked, max_tokens=self.spec["new"])
            return torch.stack([token_B for token_B, _ in found], 1).tolist()


class Processor:
    """Processor seconds, and MiB of the process (Linux)."""

    clock = staticmethod(time.process_time)

    def held(self) -> float:
        return self._status("VmRSS")

    def peak(self) -> float:
        """The most that was held since ``forget_peak``."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")

    def _status(self, field: str) -> float:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith(field))


class Accelerator:
    """Seconds on the clock until the device is done, and MiB of its memory."""

    def clock(self) -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    def held(self) -> float:
        return torch.cuda.memory_allocated() / 2**20

    def peak(self) -> float:
        return torch.cuda.max_memory_allocated() / 2**20

    def forget_peak(self) -> None:
        torch.cuda.reset_peak_memory_stats()


def gradient_norm(network) -> float:
    # Piece by piece, so that no large copy counts as memory of the next step.
    pieces = (part for p in network.parameters() for part in p.grad.flatten().split(2**18))
    return sum(part.double().square().sum().item() for part in pieces) ** 0.5


def main() -> None:
    torch.set_num_threads(1)
    spec = json.loads(sys.argv[1])
    torch.set_default_device(spec["device"])
    side = Theirs(spec, sys.argv[2]) if len(sys.argv) > 2 else Ours(spec)
    out, sys.stdout = sys.stdout, sys.stderr

    def say(**reply) -> None:
        print(json.dumps(reply), file=out, flush=True)

    say(ready=True)
    device = Processor() if spec["device"] == "cpu" else Accelerator()
    for line in sys.stdin:
        held = device.held()
        device.forget_peak()
        started = device.clock()
        result = getattr(side, line.strip())()
        reply = {"seconds": device.clock() - started, "result": result}
        reply |= {"held": held, "peak": device.peak()}
        if line.strip() == "train":
            reply["gradient"] = gradient_norm(side.network)
        say(**reply)


if __name__ == "__main__":
    main()
