# One image runs every process of the product: the command selects it (python -m gateway, python -m services.push, ...).
#   docker build --target product -t notify .
# The last stage, sandbox, adds the stand-in providers. It is for development only.

# Any Python from 3.11 on works. Both stages must use the same image: the environment links to the interpreter that
# created it.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements.txt /build/
# Packages without a wheel are built here, so that the product contains neither a compiler nor pip's cache.
# Their hashes are checked when they are fetched; a wheel that is built here has another one.
RUN pip wheel --no-cache-dir --require-hashes --wheel-dir /build/wheels --requirement /build/requirements.txt \
    && python -m venv /opt/notify \
    && /opt/notify/bin/pip install --no-index --no-deps /build/wheels/*.whl

FROM ${PYTHON_IMAGE} AS product
LABEL org.opencontainers.image.title="notify" org.opencontainers.image.licenses="MIT"
# NOTIFY_LOCAL_DIR is where `python -m ops failed ...` logs the operator's actions; the rest of the image is read-only.
ENV PATH=/opt/notify/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 NOTIFY_LOCAL_DIR=/tmp/notify
RUN groupadd --gid 10001 notify && useradd --uid 10001 --gid notify --no-create-home --shell /usr/sbin/nologin notify
COPY --from=environment /opt/notify /opt/notify
WORKDIR /app
COPY LICENSE VERSION ./
COPY shared ./shared
COPY gateway ./gateway
COPY services ./services
COPY ops ./ops
# A process that restarts after a crash should not have to compile everything first, and it cannot write here.
RUN python -m compileall -q --invalidation-mode unchecked-hash .
# The user is given by number, so that an orchestrator that forbids root can see that it is not root. It owns no file.
USER 10001:10001
CMD ["python", "-m", "gateway"]

FROM product AS sandbox
COPY sandbox ./sandbox
CMD ["python", "-m", "sandbox"]
