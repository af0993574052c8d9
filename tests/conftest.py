import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread_each():
    """Test workers share the machine's cores; threads waiting for each other would only slow them down."""
    torch.set_num_threads(1)
