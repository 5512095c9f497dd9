"""The names that scripts lean on: none may go away, and lazy ones are what a type checker sees."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest
import torch

import chainrule as cr
from chainrule.interop.torch_names import check_script

NAMES_OF_FUNCTIONS = """
tensor Tensor zeros ones full empty eye arange linspace zeros_like ones_like full_like empty_like
rand_like randn_like rand randn randint randperm from_numpy as_tensor cat stack chunk split where
einsum add sub mul div pow neg abs exp log sqrt sin cos sum mean max min amax amin argmax argmin
var std any all matmul mm dot topk sort argsort gather scatter masked_fill tril triu cumsum norm
bmm multinomial softmax log_softmax sigmoid tanh relu manual_seed no_grad enable_grad
inference_mode set_grad_enabled is_grad_enabled set_default_dtype get_default_dtype float32
float64 int32 int64 uint8 bool float double int long device grad jacobian hessian hvp vmap
check_grad record custom_op compile save load trace scan Size Generator prod outer scatter_add
nonzero masked_select bincount isnan isinf isfinite allclose equal meshgrid roll log2 log10 exp2
rsqrt reciprocal round trunc frac tan sinh cosh logit lerp addcmul addcdiv fmod remainder
floor_divide hypot logaddexp logical_and logical_or logical_not logical_xor clamp clamp_min
clamp_max clip isclose nan_to_num hstack vstack column_stack ravel unflatten narrow select movedim
swapaxes broadcast_to broadcast_tensors tile repeat_interleave fliplr flipud flip diagonal diag
index_add index_fill index_select take take_along_dim diff argwhere kthvalue median unique
count_nonzero std_mean var_mean aminmax quantile cumprod mv inner tensordot addmm baddbmm addmv
dist bernoulli normal logspace randint_like concat concatenate asarray subtract multiply divide
true_divide negative absolute less less_equal greater greater_equal not_equal eq ne lt le gt ge
maximum minimum floor ceil square expm1 log1p erf sign logsumexp reshape flatten permute transpose
t squeeze unsqueeze unbind clone detach numel is_tensor is_floating_point pi e inf nan dtype finfo
iinfo FloatTensor DoubleTensor IntTensor LongTensor ByteTensor BoolTensor set_default_tensor_type
set_default_device set_printoptions use_deterministic_algorithms seed initial_seed get_rng_state
set_rng_state
"""
FUNCTIONS = NAMES_OF_FUNCTIONS.split()

NAMES_OF_METHODS = """
shape dtype ndim size numel item numpy tolist data grad requires_grad requires_grad_ backward
detach detach_ clone retain_grad register_hook float long int double bool byte type to cpu cuda
view reshape view_as reshape_as flatten unflatten ravel permute transpose t T mT squeeze unsqueeze
expand expand_as broadcast_to repeat repeat_interleave tile contiguous is_contiguous chunk split
unbind narrow select index_select index_add index_fill gather scatter scatter_add masked_fill
masked_select take take_along_dim nonzero argwhere where flip fliplr flipud roll sum mean std var
prod median max min amax amin argmax argmin aminmax any all norm dist cumsum cumprod logsumexp
softmax log_softmax sort argsort topk kthvalue unique bincount tril triu diag diagonal trace outer
ger dot mm mv matmul bmm addmm inner add sub mul div pow neg abs sign exp expm1 log log1p log2
log10 sqrt rsqrt square reciprocal floor ceil round trunc frac sin cos tan sinh cosh tanh sigmoid
relu erf clamp clip clamp_min clamp_max maximum minimum fmod remainder floor_divide lerp addcmul
addcdiv eq ne lt le gt ge equal allclose isclose isnan isinf isfinite logical_and logical_or
logical_not logical_xor multinomial bernoulli quantile count_nonzero nan_to_num diff logit
new_zeros new_ones new_full new_tensor new_empty type_as is_floating_point is_leaf is_cuda device
grad_fn name op inputs named element_size nelement dim ndimension pin_memory share_memory_ movedim
moveaxis swapaxes subtract multiply divide true_divide add_ sub_ mul_ div_ pow_ neg_ abs_ sign_
exp_ log_ sqrt_ rsqrt_ square_ reciprocal_ floor_ ceil_ round_ trunc_ sin_ cos_ tanh_ sigmoid_
relu_ clamp_ clip_ clamp_min_ clamp_max_ lerp_ addcmul_ addcdiv_ zero_ fill_ copy_ masked_fill_
scatter_ scatter_add_ index_add_ index_fill_ tril_ triu_ squeeze_ unsqueeze_ t_ transpose_
uniform_ normal_ exponential_ bernoulli_ random_ fill_diagonal_ nan_to_num_ __iadd__ __isub__
__imul__ __itruediv__ __ipow__ __ifloordiv__ __imod__ __contains__ __getitem__ __setitem__ __len__
__iter__ __array__ __matmul__ __rmatmul__
"""
METHODS = NAMES_OF_METHODS.split()

NAMES_OF_SEQUENCES = """
nn.RNN nn.LSTM nn.GRU nn.RNNCell nn.LSTMCell nn.GRUCell nn.utils.rnn.PackedSequence
nn.utils.rnn.pack_padded_sequence nn.utils.rnn.pad_packed_sequence nn.utils.rnn.pad_sequence
nn.utils.rnn.pack_sequence nn.utils.rnn.unpack_sequence nn.utils.rnn.unpad_sequence
nn.MultiheadAttention nn.Transformer nn.TransformerEncoder nn.TransformerEncoderLayer
nn.TransformerDecoder nn.TransformerDecoderLayer optim.LBFGS
nn.functional.scaled_dot_product_attention
"""

OURS_ALONE = {"op", "inputs", "named"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_there(name: str) -> None:
    assert hasattr(cr, name)
    assert name in dir(cr)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_there(name: str) -> None:
    assert hasattr(cr.Tensor, name)
    assert hasattr(torch.Tensor, name) or name in OURS_ALONE


@pytest.mark.parametrize(
    "path",
    [
        *("cuda.is_available", "cuda.manual_seed", "cuda.manual_seed_all", "cuda.device_count"),
        *("cuda.synchronize", "cuda.empty_cache", "autograd.grad", "autograd.Variable"),
        *("autograd.Function", "autograd.no_grad", "utils.data.DataLoader", "nn.functional.relu"),
        *("backends.cudnn.deterministic", "backends.mps.is_available", "optim.SGD", "nn.init"),
        *("data.datasets.MNIST", "data.transforms.ToTensor", "optim.lr_scheduler.StepLR"),
    ],
)
def test_a_name_of_a_room_is_there(path: str) -> None:
    found = cr
    for part in path.split("."):
        found = getattr(found, part)


def test_lazy_names_are_those_that_a_type_checker_sees() -> None:
    tree = ast.parse(Path(str(cr.__file__)).read_text(encoding="utf-8"))
    (block,) = [
        node for node in tree.body if isinstance(node, ast.If) and "TYPE" in ast.unparse(node.test)
    ]
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert seen == cr._LAZY


@pytest.mark.parametrize("name", sorted(cr._LAZY))
def test_a_lazy_name_is_its_module_s(name: str) -> None:
    module = importlib.import_module(f"chainrule.{cr._LAZY[name]}")
    if name != "diagnose":  # a room that can be called
        assert getattr(cr, name) is getattr(module, name)
    assert inspect.getdoc(getattr(cr, name))


def test_a_name_that_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match="module 'chainrule' has no attribute 'nothing'"):
        _ = cr.nothing


def test_a_gpu_is_nothing_for_eager_values() -> None:
    assert not cr.cuda.is_available()
    assert cr.cuda.device_count() == 0
    assert cr.cuda.synchronize() is None
    assert cr.cuda.empty_cache() is None
    for ask in (cr.cuda.current_device, cr.cuda.get_device_name):
        with pytest.raises(cr.ChainruleError, match=r"ask cr\.cuda\.is_available"):
            ask()
    with pytest.raises(cr.ChainruleError, match="holds no eager tensors"):
        cr.ones(1).cuda()
    assert cr.cuda.manual_seed_all(3) is cr.default_generator()
    assert cr.device("cuda:0" if cr.cuda.is_available() else "cpu") == cr.device("cpu")


def test_names_of_sequences_are_known_to_scripts_of_torch(tmp_path: Path) -> None:
    names = NAMES_OF_SEQUENCES.split()
    script = tmp_path / "names.py"
    script.write_text("import torch\n" + "\n".join(f"torch.{name}" for name in names))
    uses = check_script(script)
    assert len(uses) == len(names) + 1 and not [use.name for use in uses if use.missing]
