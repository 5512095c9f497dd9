"""Files that are whole or not there, and numbers in safetensors: nothing loaded is executed."""

from .arrays import decode_arrays as decode_arrays
from .arrays import encode_arrays as encode_arrays
from .arrays import read_arrays as read_arrays
from .arrays import read_header as read_header
from .arrays import write_arrays as write_arrays
from .files import StorageError as StorageError
from .files import atomic_write as atomic_write
from .files import remove_leftovers as remove_leftovers
from .files import sha256 as sha256
from .files import storage_error as storage_error
from .files import sync_folder as sync_folder
from .files import write_bytes as write_bytes
from .trees import decode_tree as decode_tree
from .trees import encode_tree as encode_tree
from .trees import flatten_tree as flatten_tree
from .trees import load as load
from .trees import save as save
