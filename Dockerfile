# docker build -t hmtools . && docker run --rm hmtools doctor
# On a GPU node: docker run --rm --gpus all -v /data:/data hmtools ...   (PyPI's torch for Linux is the CUDA build)
# constraints.txt gives the tested versions; the base image is Debian 12, whose package names stand below.
FROM python:3.11-slim-bookworm

# OpenCV's libraries, which slim images lack.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/hmtools
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY hmtools hmtools
COPY recipes recipes
COPY schemas schemas
RUN pip install --no-cache-dir -c constraints.txt .

WORKDIR /
RUN hmtools doctor
ENTRYPOINT ["hmtools"]
CMD ["--help"]
