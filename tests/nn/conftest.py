"""One thread: several of torch's wait for each other on a machine where tests run side by side."""

import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
