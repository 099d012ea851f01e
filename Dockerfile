# tgim on a CPU, for one command or as a server:
#   docker build -t tgim .
#   docker run -i --rm tgim edit --image - --text "red head and breast" --out - < bird.jpg > edited.jpg
#   docker run --rm -p 127.0.0.1:7860:7860 tgim serve --host 0.0.0.0
FROM python:3.12.11-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH=2.14.1
ARG TORCHVISION=0.29.1
RUN python -m venv /opt/tgim
ENV PATH=/opt/tgim/bin:$PATH
RUN pip install --no-cache-dir --index-url "${TORCH_INDEX}" "torch==${TORCH}" "torchvision==${TORCHVISION}"
WORKDIR /source
COPY LICENSE README.md pyproject.toml setup.cfg ./
COPY tgim ./tgim
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ".[serve]"

FROM python:3.12.11-slim-bookworm
RUN useradd --uid 10001 --create-home tgim && install --directory --owner=tgim /work
COPY --from=build /opt/tgim /opt/tgim
ENV PATH=/opt/tgim/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /work
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/health', timeout=4)"]
ENTRYPOINT ["tgim"]
CMD ["--help"]
