"""Episodes of an environment, played by a latent policy: thought, then a possible action.

_B  episodes that still run    _D  hidden state    _V  vocabulary    _T  positions of a chunk

An action is chosen by its first token, among those of the possible actions. It and every sampled
token of a written thought are decisions of the policy; latent steps are functions of what was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from apportion.config.agent import AgentConfig
from apportion.errors import UserError
from apportion.policies.latent.policy import LatentPolicy
from apportion.policies.latent.turns import Conversation
from apportion.tasks.environment import Environment, Turn
from apportion.trace import Problem


@dataclass
class Episode:
    """``logprobs`` are those of the decisions, scalars on the graph they were computed on; ``text``
    is everything after the prompt. ``thoughts`` counts latent steps, or tokens of written thought.
    """

    problem: Problem
    turn: Turn
    text: str = ""
    actions: list[str] = field(default_factory=list)
    thoughts: int = 0
    logprobs: list[Tensor] = field(default_factory=list)

    @property
    def decisions(self) -> int:
        return len(self.logprobs)

    @property
    def logprob(self) -> Tensor:
        """Of all decisions, scalar."""
        return torch.stack(self.logprobs).sum()


class Player:
    """Plays with ``policy`` as ``options`` say. Raises UserError where the possible actions of a
    turn cannot be told apart by their first tokens."""

    def __init__(
        self, policy: LatentPolicy, environment: Environment, options: AgentConfig
    ) -> None:
        self.policy, self.environment, self.options = policy, environment, options
        self._newline = self._ids("\n")
        self._tokens: dict[str, list[int]] = {}

    def play(self, problems: Sequence[Problem], *, temperature: float) -> list[Episode]:
        """An episode for each problem; temperature 0 is greedy. On the graph where gradients are
        recorded."""
        return self._play(problems, temperature, following=False)

    def follow(self, problems: Sequence[Problem]) -> list[Episode]:
        """The scripted player's episodes, with what the policy thinks of its decisions.

        Raises UserError where the environment has no scripted player.
        """
        return self._play(problems, 1.0, following=True)

    def _play(
        self, problems: Sequence[Problem], temperature: float, *, following: bool
    ) -> list[Episode]:
        model, options = self.policy.model, self.options
        found = [Episode(problem, self.environment.reset(problem)) for problem in problems]
        running = list(found)
        talk = Conversation(model, len(found), carry_memory=options.carry == "memory")
        chunks = [self.policy.prompt_ids(problem) for problem in problems]
        while True:
            talk.read(chunks)
            left = [i for i, episode in enumerate(running) if not episode.turn.done]
            if not left:
                return found
            if len(left) < len(running):
                running = [running[i] for i in left]
                talk.keep(left)
            thoughts = actions = None
            if following:
                lines = [scripted(self.environment, episode.turn) for episode in running]
                thoughts, actions = [line[0] for line in lines], [line[1] for line in lines]
            self._think(talk, running, temperature, thoughts)
            chunks = self._act(talk, running, temperature, actions)
            if options.carry == "none":
                talk.hide()

    # -- thought ---------------------------------------------------------------------------------

    def _think(
        self,
        talk: Conversation,
        running: Sequence[Episode],
        temperature: float,
        lines: Sequence[str] | None,
    ) -> None:
        if self.options.thought == "latent":
            steps = self.policy.model.steps
            talk.think(steps)
            for episode in running:
                episode.thoughts += steps
        elif self.options.thought == "text" and lines is not None:
            self._recite(talk, running, lines)
        elif self.options.thought == "text":
            self._write(talk, running, temperature)

    def _recite(self, talk: Conversation, running: Sequence[Episode], lines: Sequence[str]) -> None:
        """Read given thoughts, each token a decision."""
        chunks = [self._ids(f" {line}\n") for line in lines]
        before_BD = talk.hidden_BD
        hidden_BTD = talk.read(chunks, thought=True)
        width = hidden_BTD.shape[1]
        states_BTD = torch.cat([before_BD[:, None], hidden_BTD], dim=1)
        scores_BTV = self.policy.model.decoder.logits(states_BTD).log_softmax(-1)
        for row, (episode, ids) in enumerate(zip(running, chunks, strict=True)):
            # The first token is predicted from before the chunk, whatever the padding.
            places = [0, *range(width - len(ids) + 1, width)]
            episode.logprobs += list(scores_BTV[row, places, ids].unbind(0))
            self._add_thought(episode, ids)

    def _write(self, talk: Conversation, running: Sequence[Episode], temperature: float) -> None:
        """Sample thoughts up to a line's end, each token a decision."""
        stops = self.policy._stop_ids()
        written: list[list[int]] = [[] for _ in running]
        open_rows = list(range(len(running)))
        for _ in range(self.options.thought_tokens):
            logits_BV = self.policy.model.decoder.logits(talk.hidden_BD)
            token_B, logprob_B = choose(logits_BV, temperature)
            chunks: list[list[int]] = [[] for _ in running]
            for row in open_rows:
                token = int(token_B[row])
                running[row].logprobs.append(logprob_B[row])
                # An end of text is read as a line's end: the episode goes on.
                chunks[row] = self._newline if token in stops else [token]
                written[row] += chunks[row]
            talk.read(chunks, thought=True)
            open_rows = [row for row in open_rows if not self._ends_line(written[row])]
            if not open_rows:
                break
        if open_rows:
            cut = [self._newline if row in open_rows else [] for row in range(len(running))]
            talk.read(cut, thought=True)
            for row in open_rows:
                written[row] += self._newline
        for episode, ids in zip(running, written, strict=True):
            self._add_thought(episode, ids)

    def _ends_line(self, ids: list[int]) -> bool:
        return "\n" in self.policy.tokenizer.decode(ids[-1:])

    def _add_thought(self, episode: Episode, ids: list[int]) -> None:
        episode.thoughts += len(ids)
        episode.text += self.policy.tokenizer.decode(ids)

    # -- action ----------------------------------------------------------------------------------

    def _act(
        self,
        talk: Conversation,
        running: Sequence[Episode],
        temperature: float,
        wanted: Sequence[str] | None,
    ) -> list[list[int]]:
        """One action in each episode; returns what is to be read next."""
        logits_BV = self.policy.model.decoder.logits(talk.hidden_BD)
        firsts = [self._first_tokens(episode.turn) for episode in running]
        allowed_BV = torch.zeros_like(logits_BV, dtype=torch.bool)
        for row, tokens in enumerate(firsts):
            allowed_BV[row, list(tokens)] = True
        logits_BV = logits_BV.masked_fill(~allowed_BV, -torch.inf)
        given = None
        if wanted is not None:
            given = [self._action_ids(action)[0] for action in wanted]
        token_B, logprob_B = choose(logits_BV, temperature, given)
        chunks = []
        for row, episode in enumerate(running):
            action = firsts[row][int(token_B[row])]
            episode.turn = self.environment.step(episode.turn, action)
            episode.logprobs.append(logprob_B[row])
            episode.actions.append(action)
            episode.text += f" {action}\n{episode.turn.text}"
            chunks.append([*self._action_ids(action), *self._ids(f"\n{episode.turn.text}")])
        return chunks

    def _first_tokens(self, turn: Turn) -> dict[int, str]:
        """The possible actions by their first tokens."""
        found: dict[int, str] = {}
        for action in turn.actions:
            first = self._action_ids(action)[0]
            if first in found:
                raise UserError(
                    f"task {self.environment.name}: actions '{found[first]}' and '{action}' begin "
                    "with the same token, which has to decide between them: number the actions"
                )
            found[first] = action
        return found

    def _action_ids(self, action: str) -> list[int]:
        if action not in self._tokens:
            self._tokens[action] = self._ids(f" {action}")
        return self._tokens[action]

    def _ids(self, text: str) -> list[int]:
        return list(self.policy.tokenizer(text, add_special_tokens=False)["input_ids"])


def scripted(environment: Environment, turn: Turn) -> tuple[str, str]:
    """What the scripted player thinks and does. Raises UserError where there is none."""
    found = environment.expert(turn)
    if found is None:
        raise UserError(
            f"task {environment.name}: it has no scripted player to imitate: set "
            "agent.imitation_updates: 0 and agent.start: policy"
        )
    return found


def choose(
    logits_BV: Tensor, temperature: float, given: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Tokens (B,) and their log-probabilities: ``given`` ones, or drawn, or (at 0) the likeliest.

    The log-probabilities are those of the distribution that is drawn from.
    """
    if logits_BV.dtype in (torch.float16, torch.bfloat16):
        logits_BV = logits_BV.float()
    scores_BV = (logits_BV / (temperature or 1.0)).log_softmax(-1)
    if given is not None:
        token_B = torch.tensor(list(given), device=logits_BV.device)
    elif temperature > 0:
        token_B = torch.multinomial(scores_BV.detach().exp(), 1)[:, 0]
    else:
        token_B = scores_BV.argmax(-1)
    return token_B, scores_BV.gather(1, token_B[:, None])[:, 0]
