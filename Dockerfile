# syntax=docker/dockerfile:1
# The page of ignota. On a CPU:
#   docker build -t ignota .
#   docker run -p 8642:8642 -v ignota:/data ignota
# On NVIDIA GPUs:
#   docker build -t ignota:cuda --build-arg CUDA=1 .
#   docker run --gpus all -p 8642:8642 -v ignota:/data ignota:cuda
FROM python:3.11-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
ARG CUDA=0
ARG CPU_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=serve,parquet,discover,objectness,hub
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 IGNOTA_CACHE=/data/.cache
COPY constraints.txt /tmp/constraints.txt
# torch of the package registry brings CUDA along, gigabytes that a CPU has no use for
RUN if [ "$CUDA" = 0 ]; then \
      pip install --constraint /tmp/constraints.txt --index-url "$CPU_INDEX" torch torchvision; \
    else \
      pip install --constraint /tmp/constraints.txt torch torchvision; \
    fi
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --constraint /tmp/constraints.txt "$(ls /tmp/wheels/*.whl)[$EXTRAS]" \
 && rm -r /tmp/wheels \
 && useradd --create-home ignota \
 && install --directory --owner ignota /data
USER ignota
WORKDIR /data
VOLUME /data
EXPOSE 8642
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8642), 5)"]
# a world of one's own, made once in the volume; the page is at the second link that is printed, token included
CMD ["sh", "-c", "test -e my-world || ignota init my-world; exec ignota serve --world my-world --host 0.0.0.0"]
