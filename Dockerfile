# embcomp on the CPU:  docker build -t embcomp .
#   docker run --rm -v "$PWD:/data" embcomp run embcomp.toml --out runs/first
FROM python:3.11-slim-bookworm

# libsndfile comes with the soundfile package. The compiler is for the training kernels and for checking exported C; its
# version is that of the release of Debian above.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y g++ \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/embcomp
COPY constraints.txt ./
# The index of CPU builds: the default wheel of torch carries several GB of CUDA.
RUN pip install --no-cache-dir --constraint constraints.txt --index-url https://download.pytorch.org/whl/cpu torch

COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY embcomp embcomp
RUN pip install --no-cache-dir --constraint constraints.txt '.[onnx,viz]'

# The number of the first user of most machines, so that what is written to a mounted folder belongs to that user.
RUN useradd --create-home --uid 1000 embcomp \
    && install --directory --owner embcomp /data
USER embcomp
WORKDIR /data
ENV OMP_NUM_THREADS=1
ENTRYPOINT ["embcomp"]
CMD ["--help"]
