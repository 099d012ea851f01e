"""Late interaction: the score is what its formula says, and padding and order have no say in it."""

import pytest
import torch
from torch.nn import functional as F

from support.small import CAPTIONS, VOCABULARY, batch_of, model_of
from tgim.checkpoints import checkpoint
from tgim.errors import CheckpointError
from tgim.models.matching.late_interaction import LateInteraction
from tgim.text.vocabulary import Tokens


@pytest.fixture(scope="module")
def model() -> LateInteraction:
    return model_of("late_interaction").eval()


@torch.no_grad()
def slow_scores(model, image, text):
    """The formula of the module's head, pair by pair, member by member."""
    table = torch.zeros(len(image), len(text.ids))
    for member in model.members:
        a, b = member.log_scales.exp()
        seen, read = member.encode_image(image), member.encode_text(text)
        for i in range(len(image)):
            for j in range(len(text.ids)):
                best = 0.0
                for t in range(int(text.mask[j].sum())):
                    best += read.weights[j, t] * max(read.words[j, t] @ region for region in seen.regions[i].T)
                table[i, j] += (a * seen.whole[i] @ read.sentence[j] + b * best) / (a + b) / len(model.members)
    return table


def test_the_score_is_the_formula(model):
    batch = batch_of()
    got = model.scores(model.read_images(batch.image), model.read_captions(batch.text))
    torch.testing.assert_close(got, slow_scores(model, batch.image, batch.text), atol=1e-5, rtol=1e-5)
    assert got.abs().max() <= 1


@pytest.mark.slow
def test_it_goes_on_from_a_model_of_the_same_parts(tmp_path):
    begun = model_of("late_interaction")
    file = checkpoint.save(tmp_path / "begun.safetensors", begun, vocabulary=VOCABULARY)
    going = model_of("late_interaction", start=str(file))
    assert going.vocabulary_for(going.config).words == VOCABULARY.words
    going.load_parts()
    for name, value in begun.state_dict().items():
        assert torch.equal(value, going.state_dict()[name]), name
    with pytest.raises(CheckpointError, match="other parts"):
        model_of("late_interaction", start=str(file), members=1).load_parts()


def test_padding_has_no_say(model):
    image = model.read_images(batch_of().image)
    padded = VOCABULARY.encode(CAPTIONS)
    together = model.scores(image, model.read_captions(padded))
    for i, caption in enumerate(CAPTIONS):
        alone = model.scores(image, model.read_captions(VOCABULARY.encode([caption])))
        torch.testing.assert_close(together[:, i : i + 1], alone)
    wider = Tokens(F.pad(padded.ids, (0, 5)), F.pad(padded.mask, (0, 5)))
    torch.testing.assert_close(model.scores(image, model.read_captions(wider)), together)


def test_embeddings_are_unit_vectors_whose_product_is_the_mean_of_cosines(model):
    batch = batch_of()
    images, captions = model.embed_images(batch.image), model.embed_captions(batch.text)
    for part in (images, captions):
        torch.testing.assert_close(part.norm(dim=1), torch.ones(len(part)))
    members = [m.encode_image(batch.image).whole @ m.encode_text(batch.text).sentence.T for m in model.members]
    torch.testing.assert_close(images @ captions.T, torch.stack(members).mean(0))


def test_a_subset_of_codes_scores_as_in_the_whole(model):
    batch = batch_of()
    images, captions = model.read_images(batch.image), model.read_captions(batch.text)
    whole = model.scores(images, captions)
    part = model.scores(tuple(x[1:3] for x in images), tuple(x[[2, 0]] for x in captions))
    torch.testing.assert_close(part, whole[1:3][:, [2, 0]])


@pytest.mark.slow
def test_same_class_captions_are_no_negatives():
    model, batch = model_of("late_interaction"), batch_of()
    one_class = type(batch)(image=batch.image, text=batch.text, labels=torch.zeros_like(batch.labels))
    losses = {}
    for name, given in (("apart", batch), ("one", one_class)):
        torch.manual_seed(0)
        losses[name] = sum(float(term.detach()) for _, terms in model.steps(given) for term in terms.values())
    assert losses["one"] < 1e-3 < losses["apart"]
