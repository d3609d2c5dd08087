"""Small matrices in one thread."""

from __future__ import annotations

from threadpoolctl import threadpool_limits


def one_blas_thread() -> threadpool_limits:
    """For the `with` around linear algebra on a few hundred images.

    The threads of OpenBLAS wait for each other in busy loops: two of them took 50 times as long as
    one as soon as another process used the cores, and no less where none did.
    """
    return threadpool_limits(1, user_api="blas")
