"""`millrace serve`: the HTTP and gRPC server over everything that is published."""

from __future__ import annotations

from typing import Annotated

import typer

from millrace.cli.output import exits, results


def add_to(app: typer.Typer) -> None:
    app.command(name="serve")(serve)


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port of HTTP; 0 for any free one.")] = 8080,
    grpc_port: Annotated[
        int | None, typer.Option(help="The port of gRPC; 0 for any free one. Without it: no gRPC.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes that share the port; one for a core.")] = 1,
    drain: Annotated[float, typer.Option(min=0, help="Seconds that answers under way get at the end.")] = 30.0,
    lame_duck: Annotated[
        float, typer.Option(min=0, help="Seconds at the end in which /readyz says no, and requests are still taken.")
    ] = 0.0,
    without_permissions: Annotated[
        bool, typer.Option("--without-permissions", help="Let everybody call everything, without a token.")
    ] = False,
    certificate: Annotated[
        str, typer.Option(help="TLS on both ports: a PEM file of the server's certificate and its chain.")
    ] = "",
    key: Annotated[str, typer.Option(help="The certificate's key, in PEM; unless it is in the same file.")] = "",
    client_ca: Annotated[
        str, typer.Option(help="Let only clients in that have a certificate of these authorities, a PEM file.")
    ] = "",
    log_style: Annotated[str, typer.Option(help="Logs on stderr as `json` or `text`.")] = "text",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve every published API over HTTP and gRPC until SIGTERM or Ctrl-C."""
    from millrace.serving import logs
    from millrace.serving.supervisor import Supervisor
    from millrace.serving.worker import Options

    def announce(options: Options) -> None:
        over = " over TLS" if options.certificate else ""
        addresses = f"{'https' if over else 'http'}://{options.host}:{options.http_port}"
        if options.grpc_port is not None:
            addresses += f" and grpc://{options.host}:{options.grpc_port}"
        results.print(f"serving {addresses}{over} with {options.workers} worker(s)")

    with exits():
        logs.set_up(log_style, log_level)
        options = Options(
            host=host,
            http_port=port,
            grpc_port=grpc_port,
            workers=workers,
            drain_s=drain,
            lame_duck_s=lame_duck,
            permissions=not without_permissions,
            certificate=certificate,
            key=key,
            client_ca=client_ca,
            log_style=log_style,
            log_level=log_level,
        )
        raise typer.Exit(Supervisor(options, announce).run())
